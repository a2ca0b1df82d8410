"""How a trial has ended: read from what Hydra's launcher returns and from the run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from dogbreed.errors import sentence_of
from dogbreed.files import read_json
from dogbreed.run_files import RUN_JSON


@dataclass(frozen=True)
class Outcome:
    """How a trial has ended.

    Args:
        state: ``completed``, ``pruned`` or ``failed``.
        values: Of the objectives; as many as the trial has returned.
        reason: Why it was ended or failed, in a sentence.
        run_folder: Where its files are; None where nobody knows.
        issue: The rule of diagnosis that ended it, if one has.
        has_no_value: It was run without an error, and its task returns no number.
    """

    state: str
    values: list[float | None]
    reason: str | None = None
    run_folder: str | None = None
    issue: str | None = None
    has_no_value: bool = False


def outcome_of(ended: JobReturn, num_objectives: int) -> Outcome:
    """Read how a trial has ended.

    Args:
        ended: What the launcher returns of it.
        num_objectives: How many values it should have, >= 1.
    """
    place = OmegaConf.select(ended.hydra_cfg, "hydra.runtime.output_dir") if ended.hydra_cfg is not None else None
    run = read_json(Path(place) / RUN_JSON) if place else {}
    if ended.status != JobStatus.COMPLETED:
        error = ended._return_value  # noqa: SLF001 -- the public one raises it
        reason = sentence_of(error) if isinstance(error, BaseException) else str(error)
        return Outcome("failed", [], run.get("error") or reason, place)
    if run.get("state") in ("pruned", "failed"):
        return Outcome(run["state"], [], run.get("reason") or run.get("error"), place, run.get("issue"))
    values = _numbers(ended.return_value)
    if len(values) == num_objectives and not any(value is None or math.isnan(value) for value in values):
        return Outcome("completed", values, None, place)
    wanted = "a number" if num_objectives == 1 else f"{num_objectives} numbers"
    reason = f"The trial returned {ended.return_value!r}, where {wanted} should be."
    return Outcome("failed", values, reason, place, has_no_value=all(value is None for value in values))


def _numbers(returned: object) -> list[float | None]:
    listed = list(returned) if isinstance(returned, list | tuple) else [returned]
    return [float(value) if isinstance(value, int | float) else None for value in listed]
