"""What a dry run of a deployment or a transform job prints."""

from __future__ import annotations

import json

from launch.hosting.archive import Archive
from launch.hosting.plan import DeployPlan, TransformPlan
from launch.preview import section, size_text


def preview(plan: DeployPlan | TransformPlan, archive: Archive) -> str:
    """Say all that would be sent, and what it would cost.

    Args:
        plan: What is to be.
        archive: Of the model.

    Returns:
        Sections of text, requests as JSON.
    """
    requests = plan.requests.items()
    sections = [section(action, [json.dumps(body, indent=2, ensure_ascii=False)]) for action, body in requests]
    sections.append(section("model.tar.gz", _files(archive)))
    sections.append(section("cost", [f"  {plan.cost.describe()}"]))
    if plan.notes:
        sections.append(section("notes", [f"  {note}" for note in plan.notes]))
    marks = [f"  {text}  {origin}" for text, origin in plan.facts.placeholders.items()]
    if marks:
        sections.append(section("placeholders, to be filled in from", marks))
    return "\n\n".join([*sections, "Dry run: nothing was sent."])


def _files(archive: Archive) -> list[str]:
    code = [size for name, size in archive.files.items() if name.startswith("code/")]
    lines = [f"  {size_text(archive.num_bytes)}, sha256 of its content {archive.sha256}"]
    lines += [f"  {name}  {size_text(size)}" for name, size in archive.files.items() if not name.startswith("code/")]
    return [*lines, f"  code/  {len(code)} files, {size_text(sum(code))} unpacked"]
