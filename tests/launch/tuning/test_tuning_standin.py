"""The stand-in's tuning jobs, whose training jobs a test moves on itself; and our table of limits."""

import itertools
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from launch_jobs import METRIC, request, wait_until
from launch_requests import operation

from launch.standin.tuning_actions import problem_of
from launch.standin.tuning_values import chosen_values
from launch.tuning.request import TUNING_LIMITS

STANDIN = "driven"
RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "lr", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
        {"Name": "beta", "MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
    ],
    "IntegerParameterRanges": [{"Name": "size", "MinValue": "1", "MaxValue": "3", "ScalingType": "Linear"}],
    "CategoricalParameterRanges": [{"Name": "model", "Values": ['"a"', '"b"']}],
}
GRID = {"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y"]}]}


def tuning_request(aws, name, strategy="Random", most=3, parallel=1, ranges=RANGES, **config):
    training = request(aws, name)
    kept = ("RoleArn", "AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": METRIC["Name"]},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": ranges,
            **config,
        },
        "TrainingJobDefinition": {
            **{key: training[key] for key in kept},
            "StaticHyperParameters": training["HyperParameters"],
        },
    }


@pytest.fixture
def start(aws):
    def create(name, **more):
        boto3.client("sagemaker").create_hyper_parameter_tuning_job(**tuning_request(aws, name, **more))
        return aws.tuning_job(name)

    return create


def child(tuning, number):
    wait_until(lambda: len(tuning.children) >= number)
    return tuning.children[number - 1]


def finish(tuning, number, *values, status="Completed"):
    job = child(tuning, number)
    for value in values:
        job.record_metric(METRIC["Name"], value)
    job.end(status)


# -- values ----------------------------------------------------------------------------


def test_values_are_drawn_from_the_ranges_and_the_same_for_a_seed():
    config = {"Strategy": "Bayesian", "ParameterRanges": RANGES, "RandomSeed": 1}
    drawn = list(itertools.islice(chosen_values(config, "name"), 300))
    assert drawn == list(itertools.islice(chosen_values(config, "other"), 300))
    assert drawn != list(itertools.islice(chosen_values(config | {"RandomSeed": 2}, "name"), 300))
    rates = sorted(float(row["lr"]) for row in drawn)
    assert 1e-5 <= rates[0] < 1e-4 < rates[150] < 1e-2 < rates[-1] <= 0.1  # evenly in the logarithm
    assert {row["size"] for row in drawn} == {"1", "2", "3"}
    assert {row["model"] for row in drawn} == {'"a"', '"b"'}
    assert all(0.5 <= float(row["beta"]) <= 0.999 for row in drawn)
    assert any("E-" in row["lr"] for row in drawn)  # as SageMaker writes them


def test_a_grid_is_the_product_in_order():
    config = {"Strategy": "Grid", "ParameterRanges": GRID}
    assert [tuple(row.values()) for row in chosen_values(config, "name")] == [
        ("1", "x"), ("1", "y"), ("2", "x"), ("2", "y"),
    ]  # fmt: skip


# -- the life of a tuning job -------------------------------------------------------------


def test_so_many_at_a_time_until_all_are_over(aws, start):
    tuning = start("life", parallel=2)
    client = boto3.client("sagemaker")
    child(tuning, 2)
    time.sleep(0.2)
    assert len(tuning.children) == 2
    finish(tuning, 2, 0.5, 0.75)
    finish(tuning, 1, 0.25, status="Failed")
    finish(tuning, 3, 0.5)
    wait_until(lambda: tuning.is_over)
    told = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="life")
    assert told["HyperParameterTuningJobStatus"] == "Completed"
    assert told["TrainingJobStatusCounters"] == {
        "Completed": 2, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 1, "Stopped": 0,
    }  # fmt: skip
    best = told["BestTrainingJob"]
    assert best["TrainingJobName"] == tuning.children[1].training_job_name
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.75
    assert set(best["TunedHyperParameters"]) == {"lr", "beta", "size", "model"}
    rows = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="life", SortBy="FinalObjectiveMetricValue", SortOrder="Descending", MaxResults=1
    )
    assert [row["TrainingJobName"] for row in rows["TrainingJobSummaries"]] == [best["TrainingJobName"]]
    assert rows["NextToken"]
    own = client.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert own["TuningJobArn"] == told["HyperParameterTuningJobArn"]
    assert own["HyperParameters"]["_tuning_objective_metric"] == METRIC["Name"]
    with pytest.raises(ClientError, match="is in status Completed"):
        client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="life")
    with pytest.raises(ClientError, match="already exists"):
        start("life")


def test_stopping_one_stops_its_jobs(aws, start):
    tuning = start("stopped", parallel=2)
    child(tuning, 2)
    boto3.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert all(job.stop_asked.is_set() for job in tuning.children)
    for job in tuning.children:
        job.end("Stopped")
    wait_until(lambda: tuning.is_over)
    assert tuning.hyper_parameter_tuning_job_status == "Stopped"
    assert len(tuning.children) == 2


def test_a_job_behind_the_median_of_the_others_is_stopped_early(aws, start):
    tuning = start("early", most=5, TrainingJobEarlyStoppingType="Auto")
    for number, values in enumerate(((0.5, 0.6), (0.6, 0.7), (0.4, 0.5)), 1):
        finish(tuning, number, *values)
    good = child(tuning, 4)
    good.record_metric(METRIC["Name"], 0.55)
    time.sleep(0.2)
    assert not good.stop_asked.is_set()
    good.end("Completed")
    bad = child(tuning, 5)
    bad.record_metric(METRIC["Name"], 0.1)
    wait_until(bad.stop_asked.is_set)
    bad.end("Stopped")
    wait_until(lambda: tuning.is_over)
    assert tuning.hyper_parameter_tuning_job_status == "Completed"


@pytest.mark.parametrize(
    ("name", "criteria", "values"),
    [
        ("target", {"TargetObjectiveMetricValue": 0.7}, (0.5, 0.8)),
        ("patience", {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}, (0.5, 0.0, 0.4, 0.3)),
    ],
)
def test_it_ends_when_it_has_found_enough(aws, start, name, criteria, values):
    tuning = start(name, most=9, TuningJobCompletionCriteria=criteria)
    for number, value in enumerate(values, 1):
        finish(tuning, number, value)
    wait_until(lambda: tuning.is_over)
    assert len(tuning.children) == len(values)


# -- what SageMaker refuses ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"strategy": "Grid"}, "Grid takes categorical ranges"),
        ({"strategy": "Grid", "ranges": GRID, "most": 3}, "not the size of the grid"),
        ({"strategy": "Hyperband"}, "MaxResource is missing"),
        ({"parallel": 4}, "exceeds MaxNumberOfTrainingJobs"),
        ({"ranges": {}}, "No tunable hyperparameter"),
        (
            {"ranges": {"CategoricalParameterRanges": [{"Name": "sagemaker_program", "Values": ["1"]}]}},
            "both static and tunable",
        ),
        (
            {"ranges": {"ContinuousParameterRanges": [
                {"Name": "lr", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}
            ]}},
            "range of lr is invalid",
        ),
    ],
)  # fmt: skip
def test_what_the_api_refuses(aws, start, more, words):
    assert words in problem_of(tuning_request(aws, "refused", **more))
    with pytest.raises(ClientError, match=words):
        start("refused", **more)


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", TUNING_LIMITS, ids=lambda limit: limit.path)
def test_our_limits_are_the_service_models(limit):
    shape = operation("CreateHyperParameterTuningJob")
    for step in limit.path.split("."):
        if step in ("[]", "{}", "{key}"):
            shape = shape.member if step == "[]" else shape.value if step == "{}" else shape.key
        else:
            shape = shape.members[step]
    model = shape.metadata
    assert (limit.least, limit.most, limit.pattern) == (model.get("min", 0), model.get("max"), model.get("pattern"))
