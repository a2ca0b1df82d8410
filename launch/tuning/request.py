"""The CreateHyperParameterTuningJob request of a search: a training job's request in, the API's dictionary out.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogbreed.errors import UserError
from dogbreed.sweeps.space import Choice
from launch.limits import LIMITS, Limit
from launch.tuning.ranges import to_ranges
from launch.tuning.search import Search
from launch.tuning.settings import STRATEGIES, WARM_STARTS

# What of a training job's request the definition of a tuning job's children takes.
DEFINED = (
    "RoleArn",
    "AlgorithmSpecification",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)
TYPES = {"max": "Maximize", "min": "Minimize"}
MAX_METRICS = 20
EPOCHS = "trainer.max_epochs"

_DEFINITION, _CONFIG = "TrainingJobDefinition", "HyperParameterTuningJobConfig"
_OTHER_NAMES = {"HyperParameters": "StaticHyperParameters"}
_TO_NAME = "shorten the key"


def _limits() -> tuple[Limit, ...]:
    """Return a training job's limits, at the places that they have here, and those of tuning jobs."""
    found = []
    for limit in LIMITS:
        top, dot, rest = limit.path.partition(".")
        if top in (*DEFINED, "HyperParameters"):
            path = f"{_DEFINITION}.{_OTHER_NAMES.get(top, top)}{dot}{rest}"
            most = 48 if limit.path == "Environment" else limit.most
            found.append(Limit(path, limit.least, most, limit.pattern, limit.remedy))
        elif top == "Tags":
            found.append(limit)
    ranges = f"{_CONFIG}.ParameterRanges"
    for kind in ("Continuous", "Integer", "Categorical"):
        rows = f"{ranges}.{kind}ParameterRanges"
        found += [Limit(rows, 0, 30), Limit(f"{rows}.[].Name", 0, 256, r".*", _TO_NAME)]
    return (
        Limit("HyperParameterTuningJobName", 1, 32, r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", "give launch.name=NAME"),
        Limit(f"{_CONFIG}.ResourceLimits.MaxNumberOfTrainingJobs", 1, None, None, "mend max_jobs"),
        Limit(f"{_CONFIG}.ResourceLimits.MaxParallelTrainingJobs", 1, None, None, "mend max_parallel"),
        Limit(f"{_CONFIG}.ResourceLimits.MaxRuntimeInSeconds", 120, 15_768_000, None, "mend max_runtime_s"),
        Limit(f"{ranges}.CategoricalParameterRanges.[].Values", 1, 30),
        Limit(f"{ranges}.CategoricalParameterRanges.[].Values.[]", 0, 256, r".*"),
        Limit("WarmStartConfig.ParentHyperParameterTuningJobs", 1, 5, None, "mend warm_start"),
        *found,
    )


TUNING_LIMITS = _limits()


def tuning_job(training: Mapping[str, Any], search: Search, *, max_epochs: int | None) -> dict[str, Any]:
    """Put a CreateHyperParameterTuningJob request together: its jobs are the training job, but for what is searched.

    Args:
        training: CreateTrainingJob's request (`launch.request`), whose name becomes the tuning job's.
        search: What is searched, and how.
        max_epochs: That a child trains at most; None if epochs do not limit it.

    Returns:
        The request by the API's names.

    Raises:
        UserError: a tuning job cannot search so.
    """
    settings = search.settings
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": training["TrainingJobName"],
        _CONFIG: {
            "Strategy": STRATEGIES[settings.strategy],
            **_strategy(search, max_epochs),
            "HyperParameterTuningJobObjective": {"Type": TYPES[search.mode], "MetricName": search.metric},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": settings.max_jobs,
                "MaxParallelTrainingJobs": settings.max_parallel,
                **({"MaxRuntimeInSeconds": settings.max_runtime_s} if settings.max_runtime_s else {}),
            },
            "ParameterRanges": to_ranges(search.space, is_grid=settings.strategy == "grid"),
            "TrainingJobEarlyStoppingType": "Auto" if settings.stop_early else "Off",
            **_completion(search),
            **({"RandomSeed": search.seed} if search.seed is not None else {}),
        },
        _DEFINITION: _definition(training, search),
        "Tags": training["Tags"],
    }
    if settings.warm_start:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name} for name in settings.warm_start],
            "WarmStartType": WARM_STARTS[settings.warm_start_type],
        }
    return request


def _definition(training: Mapping[str, Any], search: Search) -> dict[str, Any]:
    definition = {key: training[key] for key in DEFINED if key in training}
    static = {name: text for name, text in training["HyperParameters"].items() if name not in search.space}
    num_names = len(static) + len(search.space) + 1  # and SageMaker's own, which says that it is a child
    if num_names > 100:
        msg = (
            f"{num_names} hyperparameters are more than the 100 that a job takes: put some overrides into a YAML file, "
            "conf/experiment/NAME.yaml, and use experiment=NAME."
        )
        raise UserError(msg)
    definition["StaticHyperParameters"] = static
    metrics = definition["AlgorithmSpecification"]["MetricDefinitions"]
    if len(metrics) > MAX_METRICS:  # the objective's is one of ours
        definition["AlgorithmSpecification"] = {
            **definition["AlgorithmSpecification"],
            "MetricDefinitions": sorted(metrics, key=lambda item: item["Name"] != search.metric)[:MAX_METRICS],
        }
    return definition


def _strategy(search: Search, max_epochs: int | None) -> dict[str, Any]:
    """Return what Hyperband goes by: how often the objective is reported, once an epoch and once at the end.

    It stops a job at its last report but for one more, which would be before the model is there.
    """
    if search.settings.strategy != "hyperband":
        return {}
    parameter = search.space.get(EPOCHS)
    if parameter is not None:
        ends = parameter.values if isinstance(parameter, Choice) else (parameter.high,)
        max_epochs = max(int(value) for value in ends if isinstance(value, (int, float)))
    if max_epochs is None or max_epochs < 1:
        msg = f"strategy=hyperband goes by epochs, and {EPOCHS} sets no limit: give a number of them."
        raise UserError(msg)
    return {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": max_epochs + 1}}}


def _completion(search: Search) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if search.settings.stop_at is not None:
        criteria["TargetObjectiveMetricValue"] = float(search.settings.stop_at)
    if search.settings.patience is not None:
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": search.settings.patience}
    return {"TuningJobCompletionCriteria": criteria} if criteria else {}
