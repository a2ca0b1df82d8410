"""A training job that lives: what SageMaker keeps of one, and how it tells of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.sagemaker.models import FakeTrainingJob

# What the API says of each phase.
MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Interrupted": "Training job interrupted",
}
OVER = ("Completed", "Failed", "Stopped")


class TrainingJob(FakeTrainingJob):
    """A job from its request to its end; the worker moves it on.

    moto 5.2's own is ``Completed`` from the start, names the metric ``test:dcg`` whatever was asked, and forgets
    ``Environment``, ``ProfilerConfig`` and ``RetryStrategy``. Only its type and the names of its attributes are kept,
    by which moto's backend lists, tags and finds jobs: its constructor is left out on purpose.

    Args:
        request: CreateTrainingJob's parameters, whole.
        account: Twelve digits.
        region: AWS region.
        tuning_job: Name of the tuning job whose child this is, if any.
    """

    def __init__(self, request: Mapping[str, Any], account: str, region: str, tuning_job: str | None = None) -> None:
        self.request = {key: value for key, value in request.items() if key != "Tags"}
        self.training_job_name: str = request["TrainingJobName"]
        self.arn = FakeTrainingJob.arn_formatter(self.training_job_name, account, region)
        self.region = region
        self.tuning_job = tuning_job
        self.tags = list(request.get("Tags") or [])
        self.training_job_status = "InProgress"
        self.secondary_status = "Starting"
        self.creation_time: datetime = _now()
        self.last_modified_time: datetime = self.creation_time
        self.training_start_time: datetime | None = None  # type: ignore[assignment]  # moto's jobs have both times
        self.training_end_time: datetime | None = None  # type: ignore[assignment]
        self.failure_reason = ""
        self.metrics: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[float]] = {}
        self.transitions: list[dict[str, Any]] = []
        self.stop_asked = threading.Event()
        self.num_attempts = 0
        self._lock = threading.Lock()
        self.enter("Starting")

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will happen."""
        return self.training_job_status in OVER

    def enter(self, phase: str, message: str = "") -> None:
        """Begin a phase, which ends the one before; ``Completed``, ``Failed`` and ``Stopped`` end the job."""
        with self._lock:
            now = _now()
            if self.transitions:
                self.transitions[-1]["EndTime"] = now
            entry = {"Status": phase, "StartTime": now, "StatusMessage": message or MESSAGES[phase]}
            if phase == "Downloading" and self.training_start_time is None:
                self.training_start_time = now
            if phase in OVER:
                entry["EndTime"] = self.training_end_time = now
            if phase in (*OVER, "Stopping"):
                self.training_job_status = phase
            self.transitions.append(entry)
            self.secondary_status = phase
            self.last_modified_time = now

    def end(self, status: str, reason: str = "", phase: str | None = None) -> None:
        """End the job.

        Args:
            status: ``Completed``, ``Failed`` or ``Stopped``.
            reason: Why it failed.
            phase: The last secondary status, if it is another than the status (``MaxRuntimeExceeded``).
        """
        self.failure_reason = reason
        self.enter(status, reason)
        if phase:
            with self._lock:
                self.secondary_status = phase
                self.transitions[-1].update(Status=phase, StatusMessage=MESSAGES[phase])

    def stop(self) -> None:
        """Ask for the job's end, as StopTrainingJob does."""
        if not self.is_over and not self.stop_asked.is_set():
            self.enter("Stopping")
            self.stop_asked.set()

    def record_metric(self, name: str, value: float) -> None:
        """Keep the last value of a metric, and those before it."""
        with self._lock:
            self.history.setdefault(name, []).append(value)
            self.metrics[name] = {"MetricName": name, "Value": value, "Timestamp": _now()}

    @property
    def seconds(self) -> int:
        """Seconds of training so far, as they are billed: from the download of the data on."""
        if self.training_start_time is None:
            return 0
        return max(1, round(((self.training_end_time or _now()) - self.training_start_time).total_seconds()))

    @property
    def response_object(self) -> dict[str, Any]:
        """DescribeTrainingJob's answer."""
        output = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        with self._lock:
            answer: dict[str, Any] = {
                **self.request,
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.training_job_status,
                "SecondaryStatus": self.secondary_status,
                "SecondaryStatusTransitions": [dict(entry) for entry in self.transitions],
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified_time,
                "FinalMetricDataList": list(self.metrics.values()),
                "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{self.training_job_name}/output/model.tar.gz"},
            }
            if self.training_start_time:
                answer |= {"TrainingStartTime": self.training_start_time, "TrainingTimeInSeconds": self.seconds}
            if self.training_end_time:
                answer |= {"TrainingEndTime": self.training_end_time, "BillableTimeInSeconds": self.seconds}
            if self.tuning_job:
                place = self.arn.rpartition(":training-job/")[0]
                answer["TuningJobArn"] = f"{place}:hyper-parameter-tuning-job/{self.tuning_job}"
            if self.failure_reason:
                answer["FailureReason"] = self.failure_reason[:1024]
        return answer

    def gen_response_object(self) -> dict[str, Any]:
        """Answer moto's search, which asks under this name."""
        return self.response_object | {"Tags": self.tags}

    @property
    def summary(self) -> dict[str, Any]:
        """An entry of ListTrainingJobs."""
        return {
            "TrainingJobName": self.training_job_name,
            "TrainingJobArn": self.arn,
            "CreationTime": self.creation_time,
            "TrainingEndTime": self.training_end_time,
            "LastModifiedTime": self.last_modified_time,
            "TrainingJobStatus": self.training_job_status,
            "SecondaryStatus": self.secondary_status,
        }


def _now() -> datetime:
    # moto compares with its own times, which carry no zone.
    return datetime.now(UTC).replace(tzinfo=None)
