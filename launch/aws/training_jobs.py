"""Training jobs of the real SageMaker, or of the stand-in: `launch.protocols.JobService`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from dogbreed.errors import UserError
from launch.aws import logs
from launch.aws.errors import translated
from launch.aws.jobs import OURS, Jobs, is_of
from launch.protocols import JobState, LogLine, LogPosition


class TrainingJobs(Jobs):
    """Training jobs of one account in one region."""

    kind = "training"
    listing = ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName")

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

    def read_log(self, name: str, position: LogPosition | None) -> tuple[Sequence[LogLine], LogPosition]:
        """Read what is new in a job's log, at most 10,000 lines; `launch.aws.logs.read_log`."""
        return logs.read_log(self._logs, name, position)

    def _state(self, client: Any, name: str) -> JobState:
        return state_of(client.describe_training_job(TrainingJobName=name))

    def _stop(self, name: str) -> None:
        self._client.stop_training_job(TrainingJobName=name)

    @staticmethod
    def _is_ours(state: JobState) -> bool:
        # Those of a tuning job are told of with it.
        return OURS in state.description.get("HyperParameters", {}) and not state.description.get("TuningJobArn")


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
