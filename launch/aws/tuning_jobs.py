"""Tuning jobs of the real SageMaker, or of the stand-in: `launch.protocols.JobService` of the second kind.

What such a job prints are the beginnings and ends of its training jobs; each of those has a log of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from dogbreed.errors import UserError
from launch.aws.errors import error_code, translated
from launch.aws.session import Aws
from launch.aws.training_jobs import NUM_THREADS, OURS, UnknownJobError, is_of, is_unknown
from launch.aws.transient import watching
from launch.protocols import JobState, LogLine, LogPosition
from launch.tuning.trials import CHILDREN, OVER, Trial, trials_of

_BEGUN, _ENDED = "begun", "ended"


class TuningJobs:
    """Tuning jobs of one account in one region.

    Args:
        aws: Credentials and region.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.region: str = aws.region

    @cached_property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @cached_property
    def _watch(self) -> Any:
        return self._aws.client("sagemaker", is_patient=False)

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

    def describe(self, name: str) -> JobState:
        """Ask what has become of a tuning job and of its training jobs.

        Raises:
            TransientError: AWS cannot be reached for now.
            UnknownJobError: there is none of this name.
            UserError: AWS refuses.
        """
        with watching(f"asking for the tuning job {name}"):
            try:
                return self._state(self._watch, name)
            except self._watch.exceptions.ClientError as error:
                if not is_unknown(error):
                    raise
        raise UnknownJobError(name, self.region, "tuning")

    def list_ours(self, prefix: str, limit: int) -> Sequence[JobState]:
        """List the newest tuning jobs of this library whose names begin so.

        Args:
            prefix: Beginning of the name; empty for all.
            limit: At most so many, >= 1.

        Raises:
            UserError: AWS cannot be asked.
        """
        asked: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
        if prefix:
            asked["NameContains"] = prefix
        with translated("listing the tuning jobs"), ThreadPoolExecutor(NUM_THREADS) as pool:
            names = []
            for page in self._client.get_paginator("list_hyper_parameter_tuning_jobs").paginate(**asked):
                names += [row["HyperParameterTuningJobName"] for row in page["HyperParameterTuningJobSummaries"]]
            names = [name for name in names if name.startswith(prefix)]
            found: list[JobState] = []
            while names and len(found) < limit:
                chunk, names = names[:NUM_THREADS], names[NUM_THREADS:]
                states = pool.map(lambda name: self._state(self._client, name), chunk)
                found += [state for state in states if _is_ours(state)]
        return found[:limit]

    def stop(self, name: str) -> None:
        """Ask for the end of a tuning job and of its training jobs; one that is over stays as it is.

        Raises:
            UserError: there is none of this name, or AWS refuses.
        """
        if self.describe(name).is_over:
            return
        with translated(f"stopping the tuning job {name}"):
            try:
                self._client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            except self._client.exceptions.ClientError as error:
                # Over since we asked.
                if error_code(error) != "ValidationException" or not self._state(self._client, name).is_over:
                    raise

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


def _is_ours(state: JobState) -> bool:
    return OURS in (state.description.get("TrainingJobDefinition") or {}).get("StaticHyperParameters", {})
