"""Batch transform jobs of the real SageMaker, or of the stand-in: `launch.protocols.JobService`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from dogbreed.errors import UserError
from launch.aws import logs
from launch.aws.errors import translated
from launch.aws.jobs import Jobs, is_of
from launch.protocols import JobState, LogLine, LogPosition


class TransformJobs(Jobs):
    """Transform jobs of one account in one region."""

    kind = "transform"
    listing = ("list_transform_jobs", "TransformJobSummaries", "TransformJobName")

    @cached_property
    def _logs(self) -> Any:
        return self._aws.client("logs", is_patient=False)

    def create(self, request: Mapping[str, Any]) -> str:
        """Send a CreateTransformJob request; one whose answer was lost on the way is not a clash with itself.

        Args:
            request: As `launch.hosting.request` makes it.

        Returns:
            The job's ARN.

        Raises:
            UserError: AWS refuses the request; another job has this name.
        """
        name = request["TransformJobName"]
        with translated(f"starting the transform job {name}"):
            try:
                return str(self._client.create_transform_job(**request)["TransformJobArn"])
            except self._client.exceptions.ResourceInUse:
                found = self._client.describe_transform_job(TransformJobName=name)
                if is_of(found, request, ("ModelName", "TransformInput", "TransformOutput")):
                    return str(found["TransformJobArn"])
        msg = f"A transform job of the name {name} exists already in {self.region}: call again."
        raise UserError(msg)

    def models_in_use(self) -> set[str]:
        """Return the models that jobs work with which are not over.

        Raises:
            UserError: AWS cannot be asked.
        """
        found = set()
        with translated("listing the transform jobs"):
            for status in ("InProgress", "Stopping"):
                pages = self._client.get_paginator("list_transform_jobs").paginate(StatusEquals=status)
                for page in pages:
                    for row in page["TransformJobSummaries"]:
                        name = row["TransformJobName"]
                        found.add(self._client.describe_transform_job(TransformJobName=name)["ModelName"])
        return found

    def read_log(self, name: str, position: LogPosition | None) -> tuple[Sequence[LogLine], LogPosition]:
        """Read what is new in a job's log, at most 10,000 lines; `launch.aws.logs.read_log`."""
        return logs.read_log(self._logs, name, position, logs.TRANSFORM_GROUP)

    def _state(self, client: Any, name: str) -> JobState:
        found = client.describe_transform_job(TransformJobName=name)
        description = {key: value for key, value in found.items() if key != "ResponseMetadata"}
        status = found["TransformJobStatus"]
        start, end = found.get("TransformStartTime"), found.get("TransformEndTime")
        seconds = round((end - start).total_seconds()) if start and end else None
        phase = status if status != "InProgress" or start else "Starting"
        return JobState(name, status, phase, found.get("FailureReason", ""), seconds, {}, description)

    def _stop(self, name: str) -> None:
        self._client.stop_transform_job(TransformJobName=name)

    @staticmethod
    def _is_ours(state: JobState) -> bool:
        # Its model is ours if its name is the job's with a token.
        return str(state.description.get("ModelName", "")).startswith(state.name[:50])
