"""A tuning job that lives: it chooses values, has training jobs run with them, so many at a time, and keeps count.

Bayesian and Hyperband choose as Random does: what is tried here is the way of a search, not its cleverness. Early
stopping is SageMaker's rule: a job ends when it is worse than the median of the others' running averages at its epoch
(https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html).
"""

from __future__ import annotations

import itertools
import math
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from moto.sagemaker.models import HyperParameterTuningJob

from launch.standin.job import TrainingJob
from launch.standin.tuning_values import chosen_values

TICK_S = 0.05
# What SageMaker adds to a child's hyperparameters.
METRIC_NAME = "_tuning_objective_metric"
# No job is stopped early before so many others have come as far.
NUM_OTHERS = 3


class TuningJob(HyperParameterTuningJob):
    """A tuning job from its request to its end.

    As with training jobs, only the type and names of attributes are moto's, whose own is ``Completed`` at once.

    Args:
        request: CreateHyperParameterTuningJob's parameters, whole.
        account: Twelve digits.
        region: AWS region.
    """

    def __init__(self, request: Mapping[str, Any], account: str, region: str) -> None:
        self.request = {key: value for key, value in request.items() if key != "Tags"}
        self.hyper_parameter_tuning_job_name: str = request["HyperParameterTuningJobName"]
        self.hyper_parameter_tuning_job_config = request["HyperParameterTuningJobConfig"]
        self.arn = f"arn:aws:sagemaker:{region}:{account}:hyper-parameter-tuning-job/{self.name}"
        self.account, self.region = account, region
        self.tags = list(request.get("Tags") or [])
        self.hyper_parameter_tuning_job_status = "InProgress"
        self.creation_time = self.last_modified_time = _now()
        self.hyper_parameter_tuning_end_time: datetime | None = None  # type: ignore[assignment]
        self.failure_reason = ""
        self.children: list[TrainingJob] = []
        self.tuned: dict[str, dict[str, str]] = {}

    @property
    def name(self) -> str:
        """Its name."""
        return self.hyper_parameter_tuning_job_name

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will happen."""
        return self.hyper_parameter_tuning_job_status in ("Completed", "Failed", "Stopped")

    def stop(self) -> None:
        """Ask for the end of it and of its jobs."""
        if not self.is_over:
            self.hyper_parameter_tuning_job_status = "Stopping"
            for job in list(self.children):
                job.stop()

    def end(self, status: str, reason: str = "") -> None:
        """End it.

        Args:
            status: ``Completed``, ``Failed`` or ``Stopped``.
            reason: Why it failed.
        """
        self.failure_reason = reason
        self.hyper_parameter_tuning_end_time = self.last_modified_time = _now()
        self.hyper_parameter_tuning_job_status = status

    def value_of(self, job: TrainingJob) -> float | None:
        """Return the objective of one of its jobs, as far as it has reported one."""
        found = job.metrics.get(self.objective["MetricName"])
        return None if found is None else float(found["Value"])

    @property
    def objective(self) -> Mapping[str, str]:
        """Metric and direction."""
        objective: Mapping[str, str] = self.hyper_parameter_tuning_job_config["HyperParameterTuningJobObjective"]
        return objective

    @property
    def sign(self) -> float:
        """Factor by which more is better."""
        return -1.0 if self.objective["Type"] == "Minimize" else 1.0

    def best(self) -> TrainingJob | None:
        """Return the best of the jobs that have reported a value and are over."""
        valued = [job for job in self.children if job.is_over and self.value_of(job) is not None]
        return max(valued, key=lambda job: self.sign * (self.value_of(job) or 0.0), default=None)

    def row(self, job: TrainingJob) -> dict[str, Any]:
        """Return a job's entry of ListTrainingJobsForHyperParameterTuningJob."""
        row = job.summary | {
            "TuningJobName": self.name,
            "TrainingStartTime": job.training_start_time,
            "TunedHyperParameters": self.tuned[job.training_job_name],
            "FailureReason": job.failure_reason or None,
            "ObjectiveStatus": "Pending",
        }
        value = self.value_of(job)
        if value is not None and job.training_job_status != "Failed":
            row["FinalHyperParameterTuningJobObjectiveMetric"] = {**self.objective, "Value": value}
        if job.is_over:
            row["ObjectiveStatus"] = "Failed" if value is None or job.training_job_status == "Failed" else "Succeeded"
        return row

    def describe(self) -> dict[str, Any]:
        """Return DescribeHyperParameterTuningJob's answer."""
        rows = [self.row(job) for job in list(self.children)]
        states = [row["TrainingJobStatus"] for row in rows]
        objectives = [row["ObjectiveStatus"] for row in rows]
        answer: dict[str, Any] = {
            **self.request,
            "HyperParameterTuningJobArn": self.arn,
            "HyperParameterTuningJobStatus": self.hyper_parameter_tuning_job_status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified_time,
            "TrainingJobStatusCounters": {
                "Completed": states.count("Completed"),
                "InProgress": states.count("InProgress") + states.count("Stopping"),
                "RetryableError": 0,
                "NonRetryableError": states.count("Failed"),
                "Stopped": states.count("Stopped"),
            },
            "ObjectiveStatusCounters": {kind: objectives.count(kind) for kind in ("Succeeded", "Pending", "Failed")},
        }
        best = self.best()
        if best:
            answer["BestTrainingJob"] = self.row(best)
        if self.hyper_parameter_tuning_end_time:
            answer["HyperParameterTuningEndTime"] = self.hyper_parameter_tuning_end_time
        if self.failure_reason:
            answer["FailureReason"] = self.failure_reason
        return answer

    @property
    def response_object(self) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob's answer, under the name by which moto asks."""
        return self.describe()

    def summary(self) -> dict[str, Any]:
        """An entry of ListHyperParameterTuningJobs."""
        told = self.describe()
        row = {
            f"HyperParameterTuningJob{key}": told[f"HyperParameterTuningJob{key}"] for key in ("Name", "Arn", "Status")
        }
        config = self.hyper_parameter_tuning_job_config
        more = ("CreationTime", "LastModifiedTime", "TrainingJobStatusCounters", "ObjectiveStatusCounters")
        return {
            **row,
            **{key: told[key] for key in more},
            "HyperParameterTuningEndTime": told.get("HyperParameterTuningEndTime"),
            "Strategy": config["Strategy"],
            "ResourceLimits": config["ResourceLimits"],
        }


class Tuner:
    """Runs a tuning job in a thread.

    Args:
        tuning: The job.
        jobs: All training jobs, by name; its own are added.
        take: Runs a training job.
        is_closing: Says whether the stand-in ends.
    """

    def __init__(
        self,
        tuning: TuningJob,
        jobs: MutableMapping[str, TrainingJob],
        take: Callable[[TrainingJob], None],
        is_closing: Callable[[], bool],
    ) -> None:
        self._tuning = tuning
        self._jobs = jobs
        self._take = take
        self._is_closing = is_closing
        limits = tuning.hyper_parameter_tuning_job_config["ResourceLimits"]
        self._num_parallel = int(limits["MaxParallelTrainingJobs"])
        self._most = limits.get("MaxNumberOfTrainingJobs")
        self._deadline = time.monotonic() + limits.get("MaxRuntimeInSeconds", 30 * 86_400)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=f"standin-{self._tuning.name}", daemon=True).start()

    def _run(self) -> None:
        tuning = self._tuning
        values = itertools.islice(chosen_values(tuning.hyper_parameter_tuning_job_config, tuning.name), self._most)
        running: list[TrainingJob] = []
        is_exhausted = False
        while not self._is_closing():
            running = [job for job in running if not job.is_over]
            is_ended = tuning.hyper_parameter_tuning_job_status == "Stopping" or self._is_settled()
            while len(running) < self._num_parallel and not is_exhausted and not is_ended:
                tuned = next(values, None)
                is_exhausted = tuned is None
                if tuned is not None:
                    running.append(self._begin(tuned))
            if is_ended:
                for job in running:
                    job.stop()
            if not running and (is_exhausted or is_ended):
                tuning.end("Stopped" if tuning.hyper_parameter_tuning_job_status == "Stopping" else "Completed")
                return
            self._stop_early(running)
            time.sleep(TICK_S)

    def _begin(self, tuned: dict[str, str]) -> TrainingJob:
        tuning = self._tuning
        definition = dict(tuning.request["TrainingJobDefinition"])
        name = f"{tuning.name}-{len(tuning.children) + 1:03d}-{secrets.token_hex(4)}"
        static = definition.pop("StaticHyperParameters", {})
        request = {
            **definition,
            "TrainingJobName": name,
            "HyperParameters": {**static, **tuned, METRIC_NAME: tuning.objective["MetricName"]},
            "Tags": tuning.tags,
        }
        job = TrainingJob(request, tuning.account, tuning.region, tuning.name)
        tuning.tuned[name] = tuned
        self._jobs[name] = job
        tuning.children.append(job)
        self._take(job)
        return job

    def _is_settled(self) -> bool:
        """Say whether the tuning job has found what it was to find, or has no more time."""
        criteria = self._tuning.hyper_parameter_tuning_job_config.get("TuningJobCompletionCriteria") or {}
        values = [self._tuning.value_of(job) for job in self._tuning.children if job.is_over]
        good = [-math.inf if value is None else self._tuning.sign * value for value in values]
        target = criteria.get("TargetObjectiveMetricValue")
        patience: int | None = (criteria.get("BestObjectiveNotImproving") or {}).get(
            "MaxNumberOfTrainingJobsNotImproving"
        )
        has_target = target is not None and bool(good) and max(good) >= self._tuning.sign * target
        has_stalled = patience is not None and bool(good) and len(good) - 1 - good.index(max(good)) >= patience
        return has_target or has_stalled or time.monotonic() > self._deadline

    def _stop_early(self, running: list[TrainingJob]) -> None:
        config = self._tuning.hyper_parameter_tuning_job_config
        if config.get("TrainingJobEarlyStoppingType") != "Auto":
            return
        metric, sign = self._tuning.objective["MetricName"], self._tuning.sign
        for job in running:
            seen = job.history.get(metric, [])
            others = [one.history.get(metric, []) for one in self._tuning.children if one is not job]
            averages = [statistics.fmean(values[: len(seen)]) for values in others if len(values) >= len(seen) > 0]
            if len(averages) >= NUM_OTHERS and max(sign * one for one in seen) < sign * statistics.median(averages):
                job.stop()


def _now() -> datetime:
    # moto compares with its own times, which carry no zone.
    return datetime.now(UTC).replace(tzinfo=None)
