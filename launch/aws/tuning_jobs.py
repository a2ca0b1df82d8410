"""Tuning jobs of the real SageMaker, or of the stand-in: `launch.protocols.JobService` of the second kind.

What such a job prints are the beginnings and ends of its training jobs; each of those has a log of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogbreed.errors import UserError
from launch.aws.errors import translated
from launch.aws.jobs import OURS, Jobs, is_of
from launch.protocols import JobState, LogLine, LogPosition
from launch.tuning.trials import CHILDREN, OVER, Trial, trials_of

_BEGUN, _ENDED = "begun", "ended"


class TuningJobs(Jobs):
    """Tuning jobs of one account in one region, each with its training jobs."""

    kind = "tuning"
    listing = (
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
    )

    def create(self, request: Mapping[str, Any]) -> str:
        """Send a CreateHyperParameterTuningJob request; one whose answer was lost is not a clash with itself.

        Args:
            request: As `launch.tuning.request` makes it.

        Returns:
            The tuning job's ARN.

        Raises:
            UserError: AWS refuses the request; another tuning job has this name.
        """
        name = request["HyperParameterTuningJobName"]
        with translated(f"starting the tuning job {name}"):
            try:
                return str(self._client.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"])
            except self._client.exceptions.ResourceInUse:
                found = self._client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
                if is_of(found, request, ("HyperParameterTuningJobConfig", "TrainingJobDefinition")):
                    return str(found["HyperParameterTuningJobArn"])
        msg = f"A tuning job of the name {name} exists already in {self.region}: choose another with launch.name=NAME."
        raise UserError(msg)

    def read_log(self, name: str, position: LogPosition | None) -> tuple[Sequence[LogLine], LogPosition]:
        """Tell which training jobs have begun and ended since the last look.

        Args:
            name: The tuning job's.
            position: What the last call has told; None for nothing.

        Raises:
            TransientError: AWS cannot be reached for now.
            UserError: it refuses.
        """
        told = dict(position.tokens) if position else {}
        state = self.describe(name)
        lines = []
        for trial in trials_of(state):
            before = told.get(trial.job)
            if before is None:
                lines.append(LogLine(name, trial.began_ms, f"#{trial.number} begins  {trial.words}".rstrip()))
                told[trial.job] = _BEGUN
            if before != _ENDED and trial.status in OVER:
                lines.append(LogLine(name, trial.ended_ms, _end_of(trial)))
                told[trial.job] = _ENDED
        return lines, LogPosition(told)

    def _state(self, client: Any, name: str) -> JobState:
        description = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending", MaxResults=100
        )
        children = [row for page in pages for row in page["TrainingJobSummaries"]]
        return state_of(description, children)

    def _stop(self, name: str) -> None:
        self._client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    @staticmethod
    def _is_ours(state: JobState) -> bool:
        definition = state.description.get("TrainingJobDefinition") or {}
        return OURS in definition.get("StaticHyperParameters", {})


def state_of(description: Mapping[str, Any], children: Sequence[Mapping[str, Any]]) -> JobState:
    """Read the answers of DescribeHyperParameterTuningJob and ListTrainingJobsForHyperParameterTuningJob.

    Args:
        description: The first.
        children: Rows of the second.
    """
    kept = {key: value for key, value in description.items() if key != "ResponseMetadata"} | {CHILDREN: list(children)}
    config = description["HyperParameterTuningJobConfig"]
    status = description["HyperParameterTuningJobStatus"]
    most = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    state = JobState(
        name=description["HyperParameterTuningJobName"],
        status=status,
        phase=status,
        message=description.get("FailureReason", ""),
        billable_s=None,
        metrics={},
        description=kept,
    )
    trials = trials_of(state)
    num_over = sum(trial.status in OVER for trial in trials)
    best = (description.get("BestTrainingJob") or {}).get("FinalHyperParameterTuningJobObjectiveMetric")
    return JobState(
        name=state.name,
        status=status,
        phase=f"{num_over} of {most or len(trials)} jobs" if status == "InProgress" else status,
        message=state.message,
        billable_s=sum(trial.seconds or 0 for trial in trials),
        metrics={best["MetricName"]: float(best["Value"])} if best else {},
        description=kept,
    )


def _end_of(trial: Trial) -> str:
    after = f" after {trial.seconds} s" if trial.seconds is not None else ""
    if trial.status == "Failed":
        return f"#{trial.number} failed{after}: {trial.reason or 'SageMaker gives no reason'}"
    value = "no value" if trial.value is None else f"{trial.metric}={trial.value:.4g}"
    return f"#{trial.number} {'done' if trial.status == 'Completed' else 'stopped'}{after}: {value}"
