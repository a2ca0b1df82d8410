"""Whether a tuning job can begin with what earlier ones have found.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-warm-start.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogbreed.errors import UserError
from launch.protocols import JobState
from launch.tuning.ranges import CATEGORICAL, CONTINUOUS, INTEGER

# Static values that may differ from a parent's, and keys that were tunable and are no more.
MAX_CHANGES = 10
_WORDS = {CONTINUOUS: "an interval", INTEGER: "whole numbers", CATEGORICAL: "a list"}


def check_parent(request: Mapping[str, Any], parent: JobState) -> None:
    """Refuse a parent that SageMaker would refuse, before anything is uploaded.

    Args:
        request: CreateHyperParameterTuningJob's.
        parent: State of the tuning job that it names.

    Raises:
        UserError: says what differs.
    """
    where = f"warm_start={parent.name}"
    if not parent.is_over:
        msg = (
            f"{where} is not over ({parent.phase}): wait for it, or stop it, python -m launch.jobs stop {parent.name}."
        )
        raise UserError(msg)
    ours, theirs = request["HyperParameterTuningJobConfig"], parent.description["HyperParameterTuningJobConfig"]
    own, other = (config["HyperParameterTuningJobObjective"] for config in (ours, theirs))
    if (own["MetricName"], own["Type"]) != (other["MetricName"], other["Type"]):
        msg = f"{where} went by {other['MetricName']} and this one goes by {own['MetricName']}: use the same objective."
        raise UserError(msg)
    kinds, known = _kinds(ours), _kinds(theirs)
    for key in kinds.keys() & known.keys():
        if kinds[key] != known[key]:
            msg = f"{where}: the range of {key} was {_WORDS[known[key]]} and is {_WORDS[kinds[key]]}: keep its kind."
            raise UserError(msg)
    static = request["TrainingJobDefinition"].get("StaticHyperParameters") or {}
    before = parent.description["TrainingJobDefinition"].get("StaticHyperParameters") or {}
    missing = (before.keys() | known.keys()) ^ (static.keys() | kinds.keys())
    if missing:
        msg = (
            f"{where} was given other keys ({', '.join(sorted(missing)[:5])}): a warm start takes the same ones, tuned "
            "or not; type a value for what is no longer tuned, and none for what is new."
        )
        raise UserError(msg)
    changes = sum(static[key] != before[key] for key in static.keys() & before.keys()) + len(
        known.keys() - kinds.keys()
    )
    if changes > MAX_CHANGES:
        msg = f"{where}: {changes} values that are not tuned differ, and a warm start takes at most {MAX_CHANGES}."
        raise UserError(msg)


def _kinds(config: Mapping[str, Any]) -> dict[str, str]:
    ranges = config.get("ParameterRanges") or {}
    return {row["Name"]: kind for kind in _WORDS for row in ranges.get(kind) or ()}
