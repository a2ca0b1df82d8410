"""The actions of tuning jobs, on moto's backend: its own are ``Completed`` at once and have one job that is made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ResourceInUseException, ResourceNotFound, ValidationError
from moto.sagemaker.responses import SageMakerResponse

from launch.standin.job import TrainingJob
from launch.standin.pages import page
from launch.standin.tuning import METRIC_NAME, Tuner, TuningJob

MAX_HYPERPARAMETERS = 100
_KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Name": lambda row: row["TrainingJobName"],
    "CreationTime": lambda row: row["CreationTime"],
    "Status": lambda row: row["TrainingJobStatus"],
    "FinalObjectiveMetricValue": lambda row: row.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get(
        "Value", float("-inf")
    ),
}


class TuningActions(SageMakerResponse):
    """What SageMaker answers about tuning jobs."""

    on_create: Callable[[TrainingJob], None]
    is_closing: Callable[[], bool]

    @property
    def _tuning_jobs(self) -> dict[str, TuningJob]:
        return self.sagemaker_backend.hyper_parameter_tuning_jobs  # type: ignore[return-value]  # all are made below

    def _tuning(self, name: str | None = None) -> TuningJob:
        name = name or str(self._get_param("HyperParameterTuningJobName"))
        if name not in self._tuning_jobs:
            msg = f"Could not find hyper parameter tuning job '{name}'."
            raise ResourceNotFound(msg)
        return self._tuning_jobs[name]

    def create_hyper_parameter_tuning_job(self) -> ActionResult:
        """Keep the whole request and begin to search."""
        request = self._get_params()
        name = request["HyperParameterTuningJobName"]
        if name in self._tuning_jobs:
            msg = (
                "Hyperparameter tuning job names must be unique within an AWS account and region, and a tuning job "
                f"with this name already exists ({self._tuning_jobs[name].arn})"
            )
            raise ResourceInUseException(msg)
        problem = problem_of(request) or self._problem_of_parents(request)
        if problem:
            raise ValidationError(problem)
        tuning = TuningJob(request, self.current_account, self.region)
        self._tuning_jobs[name] = tuning
        jobs: dict[str, TrainingJob] = self.sagemaker_backend.training_jobs  # type: ignore[assignment]
        Tuner(tuning, jobs, self.on_create, self.is_closing).start()
        return ActionResult({"HyperParameterTuningJobArn": tuning.arn})

    def describe_hyper_parameter_tuning_job(self) -> ActionResult:
        """Tell what has become of a tuning job."""
        return ActionResult(self._tuning().describe())

    def list_hyper_parameter_tuning_jobs(self) -> ActionResult:
        """List tuning jobs: filtered, then sorted, then a page of them."""
        params = self._get_params()
        rows = [
            tuning.summary()
            for tuning in list(self._tuning_jobs.values())
            if (params.get("NameContains") or "") in tuning.name
            and params.get("StatusEquals") in (None, tuning.hyper_parameter_tuning_job_status)
        ]
        key = {"Name": "HyperParameterTuningJobName", "Status": "HyperParameterTuningJobStatus"}.get(
            params.get("SortBy") or "", "CreationTime"
        )
        rows.sort(key=lambda row: row[key], reverse=params.get("SortOrder") == "Descending")
        return ActionResult(page("HyperParameterTuningJobSummaries", rows, params, 10))

    def list_training_jobs_for_hyper_parameter_tuning_job(self) -> ActionResult:
        """List a tuning job's children with what they came to."""
        tuning, params = self._tuning(), self._get_params()
        rows = [tuning.row(job) for job in list(tuning.children)]
        if params.get("StatusEquals"):
            rows = [row for row in rows if row["TrainingJobStatus"] == params["StatusEquals"]]
        rows.sort(key=_KEYS[params.get("SortBy", "Name")], reverse=params.get("SortOrder") == "Descending")
        return ActionResult(page("TrainingJobSummaries", rows, params, 10))

    def stop_hyper_parameter_tuning_job(self) -> ActionResult:
        """Stop a tuning job and its children."""
        tuning = self._tuning()
        if tuning.is_over:
            msg = (
                "The request was rejected because the tuning job is in status "
                f"{tuning.hyper_parameter_tuning_job_status}."
            )
            raise ValidationError(msg)
        tuning.stop()
        return EmptyResult()

    def _problem_of_parents(self, request: Mapping[str, Any]) -> str:
        warm_start = request.get("WarmStartConfig") or {}
        own = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        for parent in warm_start.get("ParentHyperParameterTuningJobs") or ():
            tuning = self._tuning_jobs.get(parent["HyperParameterTuningJobName"])
            if tuning is None:
                return f"Could not find hyper parameter tuning job '{parent['HyperParameterTuningJobName']}'."
            if not tuning.is_over:
                return f"Parent tuning job {tuning.name} must be in a terminal state."
            if dict(tuning.objective) != dict(own):
                return f"The objective metric must be that of the parent tuning job {tuning.name}."
        return ""


def problem_of(request: Mapping[str, Any]) -> str:
    """Say what SageMaker has against a request, as far as its documentation tells; empty if nothing.

    Args:
        request: CreateHyperParameterTuningJob's.
    """
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    ranges = config.get("ParameterRanges") or {}
    rows = [
        row for kind in ("Continuous", "Integer", "Categorical") for row in ranges.get(f"{kind}ParameterRanges", ())
    ]
    names = [row["Name"] for row in rows]
    static = definition.get("StaticHyperParameters") or {}
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions") or []
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    lists = [row["Values"] for row in ranges.get("CategoricalParameterRanges", ())]
    hyperband = (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}
    most = limits.get("MaxNumberOfTrainingJobs", 1)
    problems = {
        "A hyperparameter is both static and tunable": bool(set(names) & set(static)),
        "Duplicate hyperparameter names": len(set(names)) < len(names),
        "No tunable hyperparameter": not names,
        "More than 30 tunable hyperparameters": len(names) > 30,
        "Too many hyperparameters": len(names) + len(static) + 1 > MAX_HYPERPARAMETERS,
        f"{METRIC_NAME} is reserved": METRIC_NAME in (*names, *static),
        "More than 20 metric definitions": len(metrics) > 20,
        "The objective metric has no metric definition": config["HyperParameterTuningJobObjective"]["MetricName"]
        not in [item["Name"] for item in metrics],
        "MaxParallelTrainingJobs exceeds MaxNumberOfTrainingJobs": limits["MaxParallelTrainingJobs"] > most,
        "Early stopping must be off with Hyperband": strategy == "Hyperband"
        and config.get("TrainingJobEarlyStoppingType") == "Auto",
        "MaxResource is missing for Hyperband": strategy == "Hyperband" and "MaxResource" not in hyperband,
        "StrategyConfig is for Hyperband": bool(hyperband) and strategy != "Hyperband",
        "Grid takes categorical ranges": strategy == "Grid" and len(lists) < len(rows),
        "MaxNumberOfTrainingJobs is not the size of the grid": strategy == "Grid"
        and most != math.prod(map(len, lists)),
        **{f"The range of {row['Name']} is invalid": _is_invalid(row) for row in rows if "Values" not in row},
    }
    return next((words for words, is_so in problems.items() if is_so), "")


def _is_invalid(row: Mapping[str, Any]) -> bool:
    low, high = float(row["MinValue"]), float(row["MaxValue"])
    scaling = row.get("ScalingType")
    return (
        low > high
        or (scaling == "Logarithmic" and low <= 0)
        or (scaling == "ReverseLogarithmic" and (low < 0 or high >= 1))
    )
