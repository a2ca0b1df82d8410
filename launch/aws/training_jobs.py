"""Training jobs of the real SageMaker, or of the stand-in: `launch.protocols.JobService`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import Any

from dogbreed.errors import UserError
from launch.aws import logs
from launch.aws.errors import translated
from launch.aws.session import Aws
from launch.aws.transient import watching
from launch.protocols import JobState, LogLine, LogPosition

# Ours carry this hyperparameter (launch.request).
OURS = "dogbreed_config_hash"
# Jobs are described so many at a time.
NUM_THREADS = 8


class TrainingJobs:
    """Training jobs of one account in one region.

    Args:
        aws: Credentials and region.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.region: str = aws.region

    # Made when they are needed: each costs a tenth of a second.
    @cached_property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @cached_property
    def _watch(self) -> Any:
        return self._aws.client("sagemaker", is_patient=False)

    @cached_property
    def _logs(self) -> Any:
        return self._aws.client("logs", is_patient=False)

    def create(self, request: Mapping[str, Any]) -> str:
        """Send a CreateTrainingJob request; one whose answer was lost on the way is not a clash with itself.

        Args:
            request: As `launch.request` makes it.

        Returns:
            The job's ARN.

        Raises:
            UserError: AWS refuses the request; another job has this name.
        """
        name = request["TrainingJobName"]
        with translated(f"starting the training job {name}"):
            try:
                return str(self._client.create_training_job(**request)["TrainingJobArn"])
            except self._client.exceptions.ResourceInUse:
                # The SDK repeats a request that got no answer, though it may have arrived.
                found = self._client.describe_training_job(TrainingJobName=name)
                if is_of(found, request, ("HyperParameters", "RoleArn", "OutputDataConfig")):
                    return str(found["TrainingJobArn"])
        msg = (
            f"A training job of the name {name} exists already in {self.region}: choose another with launch.name=NAME."
        )
        raise UserError(msg)

    def describe(self, name: str) -> JobState:
        """Ask what has become of a job.

        Raises:
            TransientError: AWS cannot be reached for now.
            UnknownJobError: there is none of this name.
            UserError: AWS refuses.
        """
        with watching(f"asking for the training job {name}"):
            try:
                return state_of(self._watch.describe_training_job(TrainingJobName=name))
            except self._watch.exceptions.ClientError as error:
                if not is_unknown(error):
                    raise
        raise UnknownJobError(name, self.region)

    def list_ours(self, prefix: str, limit: int) -> Sequence[JobState]:
        """List the newest jobs of this library whose names begin so.

        Args:
            prefix: Beginning of the name; empty for all.
            limit: At most so many, >= 1.

        Raises:
            UserError: AWS cannot be asked.
        """
        with translated("listing the training jobs"), ThreadPoolExecutor(NUM_THREADS) as pool:
            names = self._newest(prefix)
            found: list[JobState] = []
            while len(found) < limit:
                chunk = list(islice(names, NUM_THREADS))
                if not chunk:
                    break
                answers = pool.map(lambda name: self._client.describe_training_job(TrainingJobName=name), chunk)
                found += [state_of(answer) for answer in answers if _is_ours(answer)]
        return found[:limit]

    def stop(self, name: str) -> None:
        """Ask for a job's end; one that is over stays as it is.

        Raises:
            UserError: there is none of this name, or AWS refuses.
        """
        if self.describe(name).is_over:
            return
        with translated(f"stopping the training job {name}"):
            try:
                self._client.stop_training_job(TrainingJobName=name)
            except self._client.exceptions.ClientError:
                # Over since we asked: AWS refuses that in the words of any other validation.
                if not state_of(self._client.describe_training_job(TrainingJobName=name)).is_over:
                    raise

    def read_log(self, name: str, position: LogPosition | None) -> tuple[Sequence[LogLine], LogPosition]:
        """Read what is new in a job's log, at most 10,000 lines; `launch.aws.logs.read_log`."""
        return logs.read_log(self._logs, name, position)

    def _newest(self, prefix: str) -> Iterator[str]:
        asked: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
        if prefix:
            asked["NameContains"] = prefix
        for page in self._client.get_paginator("list_training_jobs").paginate(**asked):
            for summary in page["TrainingJobSummaries"]:
                if summary["TrainingJobName"].startswith(prefix):
                    yield summary["TrainingJobName"]


class UnknownJobError(UserError):
    """There is no job of a name.

    Args:
        name: That was asked for.
        region: Where.
        kind: Of jobs.
    """

    def __init__(self, name: str, region: str, kind: str = "training") -> None:
        super().__init__(
            f"There is no {kind} job {name} in {region}: python -m launch.jobs list shows those there are."
        )


def state_of(description: Mapping[str, Any]) -> JobState:
    """Read DescribeTrainingJob's answer.

    Args:
        description: The answer.
    """
    transitions = description.get("SecondaryStatusTransitions") or [{}]
    metrics = sorted(description.get("FinalMetricDataList") or (), key=lambda item: item["Timestamp"])
    billable_s = description.get("BillableTimeInSeconds")
    return JobState(
        name=description["TrainingJobName"],
        status=description["TrainingJobStatus"],
        phase=description["SecondaryStatus"],
        message=description.get("FailureReason") or transitions[-1].get("StatusMessage", ""),
        billable_s=description.get("TrainingTimeInSeconds") if billable_s is None else billable_s,
        metrics={item["MetricName"]: float(item["Value"]) for item in metrics},
        description={key: value for key, value in description.items() if key != "ResponseMetadata"},
    )


def _is_ours(description: Mapping[str, Any]) -> bool:
    """Say whether a job is one of this library's; those of a tuning job are told of with it."""
    return OURS in description.get("HyperParameters", {}) and not description.get("TuningJobArn")


def is_unknown(error: Any) -> bool:
    """Say whether an error of AWS's means that there is nothing of that name."""
    code, message = error.response["Error"].get("Code"), error.response["Error"].get("Message", "")
    not_found = "not found" in message.lower() or "could not find" in message.lower()
    return code == "ResourceNotFound" or (code == "ValidationException" and not_found)


def is_of(description: Mapping[str, Any], request: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Say whether what AWS describes was made by a request.

    Args:
        description: AWS's answer.
        request: What was sent.
        keys: Of both, to compare by.
    """
    return all(_is_within(request.get(key), description.get(key)) for key in keys)


def _is_within(asked: Any, kept: Any) -> bool:
    """Say whether what was asked for is what is kept, defaults aside that the service has added."""
    if isinstance(asked, Mapping) and isinstance(kept, Mapping):
        return all(_is_within(value, kept.get(key)) for key, value in asked.items())
    return bool(asked == kept)
