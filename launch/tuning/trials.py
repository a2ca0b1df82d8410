"""The training jobs of a tuning job, from AWS's answers: what each has tried, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dogbreed.sweeps.space import Value, value_text
from launch.protocols import JobState, own_reason
from launch.tuning.ranges import read_value

# Where `launch.aws.tuning_jobs` keeps the rows of training jobs in a tuning job's description.
CHILDREN = "TrainingJobSummaries"
OVER = ("Completed", "Failed", "Stopped")
# SageMaker numbers them: NAME-003-5a1b2c3d.
_NUMBER = re.compile(r"-(\d{3,})-[0-9a-f]+$")


@dataclass(frozen=True)
class Trial:
    """One training job of a tuning job.

    Args:
        number: From 1, as SageMaker numbers them.
        job: Its name.
        status: ``InProgress``, ``Completed``, ``Failed``, ``Stopping``, ``Stopped``.
        metric: The objective.
        value: What it has come to; None if nothing is known.
        seconds: Of training so far; None before it began.
        params: What it was given of the search space.
        reason: Why it failed.
        began_ms: When it was started, milliseconds since 1970.
        ended_ms: When it ended, or now.
    """

    number: int
    job: str
    status: str
    metric: str
    value: float | None = None
    seconds: int | None = None
    params: Mapping[str, Value] = field(default_factory=dict)
    reason: str = ""
    began_ms: int = 0
    ended_ms: int = 0

    @property
    def words(self) -> str:
        """Its parameters as overrides in one line."""
        return " ".join(f"{key}={value_text(_short(value))}" for key, value in self.params.items())


def trials_of(state: JobState) -> list[Trial]:
    """Read the training jobs of a tuning job, in order of number.

    Args:
        state: Of the tuning job.
    """
    metric = objective_of(state)[0]
    rows = state.description.get(CHILDREN) or ()
    return sorted((_trial(row, place, metric) for place, row in enumerate(rows, 1)), key=lambda trial: trial.number)


def objective_of(state: JobState) -> tuple[str, str]:
    """Return the metric that a tuning job goes by, and ``max`` or ``min``."""
    objective = state.description["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective") or {}
    return str(objective.get("MetricName", "")), "min" if objective.get("Type") == "Minimize" else "max"


def ranked(trials: Sequence[Trial], mode: str) -> list[Trial]:
    """Sort trials, the best first and those without a value last.

    Args:
        trials: As `trials_of` returns them.
        mode: ``max`` or ``min``.
    """
    sign = -1.0 if mode == "max" else 1.0
    return sorted(trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0), trial.number))


def _trial(row: Mapping[str, Any], place: int, metric: str) -> Trial:
    name = str(row["TrainingJobName"])
    numbered = _NUMBER.search(name)
    final = row.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
    began: datetime | None = row.get("TrainingStartTime")
    now = datetime.now(UTC)
    ended = row.get("TrainingEndTime") or now
    return Trial(
        number=int(numbered[1]) if numbered else place,
        job=name,
        status=str(row["TrainingJobStatus"]),
        metric=metric,
        value=None if final.get("Value") is None else float(final["Value"]),
        seconds=None if began is None else max(0, round((ended - began).total_seconds())),
        params={key: read_value(key, text) for key, text in sorted((row.get("TunedHyperParameters") or {}).items())},
        reason=own_reason(str(row.get("FailureReason") or "")),
        began_ms=int((began or row.get("CreationTime") or now).timestamp() * 1000),
        ended_ms=int(ended.timestamp() * 1000),
    )


def _short(value: Value) -> Value:
    return float(f"{value:.4g}") if isinstance(value, float) else value
