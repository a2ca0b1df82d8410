"""What a dry run prints: the exact request, the code, the uploads, the cost, and what is not real yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dogbreed.errors import shorten
from launch.plan import Plan

_LARGEST_FILES = 5


def preview(plan: Plan) -> str:
    """Say all that would be sent, and what it could cost.

    Args:
        plan: One launch.

    Returns:
        Sections of text, the request as JSON.
    """
    sections = [
        section(f"request ({plan.action})", [json.dumps(plan.request, indent=2, ensure_ascii=False)]),
        section("code", list(_code(plan))),
        section("uploads", list(_uploads(plan))),
        section("overrides in the job", [f"  {override}" for override in plan.overrides] or ["  none"]),
    ]
    if not plan.settings.is_local:
        sections.append(section("cost", [f"  {plan.cost.describe()}"]))
    if plan.notes:
        sections.append(section("notes", [f"  {note}" for note in plan.notes]))
    placeholders = list(_placeholders(plan))
    if placeholders:
        sections.append(section("placeholders, to be filled in from", placeholders))
    return "\n\n".join([*sections, "Dry run: nothing was sent."])


def size_text(num_bytes: int) -> str:
    """Write a size for people.

    Example:
        >>> [size_text(size) for size in (999, 123_456, 5_600_000_000)]
        ['999 bytes', '123 kB', '5.6 GB']
    """
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    size = float(num_bytes)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000 or unit == "GB":
            break
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def section(title: str, lines: list[str]) -> str:
    """Put lines below a title."""
    return "\n".join([f"-- {title}", *lines])


def _code(plan: Plan) -> Iterator[str]:
    bundle = plan.facts.bundle
    if bundle.num_bytes is None:
        yield "  not packed"
        return
    yield f"  sourcedir.tar.gz  {size_text(bundle.num_bytes)}, {len(bundle.files)} files, revision {bundle.revision}"
    yield f"  sha256  {bundle.digest}"
    tops: dict[str, list[int]] = {}
    for name, num_bytes in bundle.files.items():
        top, slash, _ = name.partition("/")
        tops.setdefault(f"{top}/" if slash else top, []).append(num_bytes)
    for top, sizes in sorted(tops.items()):
        files = f"{len(sizes)} files, " if top.endswith("/") else ""
        yield f"  {top}  {files}{size_text(sum(sizes))} unpacked"


def _uploads(plan: Plan) -> Iterator[str]:
    for channel, address in plan.channels:
        if channel.is_local:
            assert isinstance(channel.source, Path)
            yield f"  {channel.name}  {channel.source} -> {address} (only what is not there yet)"
        else:
            yield f"  {channel.name}  {address} (is there already)"
    if not plan.channels:
        yield "  none"


def _placeholders(plan: Plan) -> Iterator[str]:
    for text, origin in plan.facts.placeholders.items():
        yield f"  {text}  {origin}"
    names = [channel.name for channel, address in plan.uploads if "<sha256" in address]
    if names:
        yield f"  <sha256 of …>  the content of {shorten(names)}, hashed when it is uploaded"
    if "<" in plan.facts.bundle.digest:
        yield f"  {plan.facts.bundle.digest}  the code, when it is packed"
    if plan.settings.debugger is not None and "<" in plan.facts.rule_image:
        yield f"  {plan.facts.rule_image}  by region"
