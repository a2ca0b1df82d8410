"""The request, held against botocore's service model; our table of limits, too."""

import copy
import itertools
import json
import re

import pytest
from launch_helpers import edited, facts_of
from launch_requests import operation, refused_by_botocore

from dogbreed import UserError
from launch import limits
from launch.limits import LIMITS
from launch.overrides import from_hyperparameters
from launch.plan import make_plan
from launch.request import METRICS, metric_definitions

VPC = ["launch.subnets=[subnet-1,subnet-2]", "launch.security_groups=[sg-1]"]


def request_of(*values, overrides=("launch=a10g",), base=("launch=a10g",), **facts):
    cfg = edited(*values, base=base)
    return make_plan(cfg, list(overrides), facts_of(cfg, **facts)).request


# -- what is in it ---------------------------------------------------------------


def test_the_whole_of_a_plain_one():
    request = dict(request_of(overrides=["launch=a10g", "seed=1"]))
    name = "resnet18-data-20261122-130509-9f3a"
    root = "s3://sagemaker-eu-central-1-123456789012/dogbreed"
    hyperparameters = request.pop("HyperParameters")
    assert re.fullmatch('"[0-9a-f]{16}"', hyperparameters.pop("dogbreed_config_hash"))
    assert hyperparameters == {
        "launch": '"a10g"',
        "seed": '"1"',
        "dogbreed_order": '"launch seed"',
        "sagemaker_program": '"sm_entry.py"',
        "sagemaker_submit_directory": f'"{root}/code/<sha256 of the code>/sourcedir.tar.gz"',
        "sagemaker_container_log_level": "20",
        "sagemaker_region": '"eu-central-1"',
        "sagemaker_job_name": f'"{name}"',
        "dogbreed_revision": '"<revision>"',
    }
    algorithm = request.pop("AlgorithmSpecification")
    assert algorithm["TrainingInputMode"] == "File"
    assert len(algorithm["MetricDefinitions"]) == len(METRICS)
    assert request == {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::123456789012:role/Trainer",
        "OutputDataConfig": {"S3OutputPath": f"{root}/jobs/{name}/output/"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "CheckpointConfig": {"S3Uri": f"{root}/jobs/{name}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
        "RetryStrategy": {"MaximumRetryAttempts": 1},
        "Tags": [{"Key": "dogbreed", "Value": "0.1.0"}],
        "ProfilerConfig": {"DisableProfiler": True},
    }


def test_everything_that_can_be_asked_for(tmp_path):
    request = request_of(
        *VPC,
        *("launch.spot=true", "launch.max_run_s=60", "launch.max_wait_s=90", "launch.max_retries=0"),
        *("launch.kms_key=k", "launch.encrypt_traffic=true", "launch.network_isolation=true"),
        *("launch.tensorboard=true", "+launch.tags.team=dogs", "+launch.environment.A=b", "launch.input_mode=FastFile"),
        f"data.root='{tmp_path}'",
        addresses={"data": "s3://b/data/"},
    )
    assert request["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert request["EnableManagedSpotTraining"]
    assert request["EnableNetworkIsolation"]
    assert request["EnableInterContainerTrafficEncryption"]
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}
    assert "RetryStrategy" not in request
    assert request["OutputDataConfig"]["KmsKeyId"] == "k"
    assert request["TensorBoardOutputConfig"]["LocalPath"] == "/opt/ml/output/data/run/tensorboard"
    assert request["Tags"][1:] == [{"Key": "team", "Value": "dogs"}]
    assert request["Environment"] == {"A": "b"}
    code, channel = request["InputDataConfig"]
    assert (channel["ChannelName"], channel["InputMode"]) == ("data", "FastFile")
    assert code["ChannelName"] == "code"  # which nothing could fetch from S3 in there
    submitted = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
    assert submitted == "/opt/ml/input/data/code/sourcedir.tar.gz"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/data/"
    assert "data.root=${oc.env:SM_CHANNEL_DATA}" in from_hyperparameters(request["HyperParameters"])
    warm = request_of("launch.keep_alive_s=600", "launch.checkpoints=false", "launch.instance_type=ml.m9x.large")
    assert warm["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert "CheckpointConfig" not in warm


@pytest.mark.parametrize(
    ("base", "values", "is_distributed"),
    [
        ("a10g", [], False),
        ("a10g_x4", [], True),
        ("a10g_x4_2nodes", [], True),
        ("cpu", [], False),
        ("cpu", ["trainer.devices=2"], False),  # our own processes: torchrun starts one a GPU
        ("cpu", ["trainer.num_nodes=2", "launch.instance_count=2"], True),
    ],
)
def test_who_starts_the_processes(base, values, is_distributed):
    hyperparameters = request_of(*values, base=(f"launch={base}",))["HyperParameters"]
    assert hyperparameters.get("sagemaker_torch_distributed_enabled") == ("true" if is_distributed else None)


OPTIONS = [
    ["launch.spot=true"],
    VPC,
    ["launch.kms_key=k", "launch.tensorboard=true", "launch.encrypt_traffic=true"],
    ["launch.max_retries=0", "launch.checkpoints=false", "launch.tags={team: 'Ä'}", "+launch.environment.A=b"],
    ["data.root='s3://bucket/photos'", "model.weights='s3://bucket/w.pth'", "launch.network_isolation=true"],
    ["launch.volume_kms_key=k", "launch.instance_type=ml.m6i.xlarge", "trainer.accelerator=cpu"],
]


@pytest.mark.parametrize("smdebug", [False, True])
def test_botocore_takes_every_combination(smdebug):
    base = ("launch=a10g", "launch/debugger=smdebug") if smdebug else ("launch=a10g",)
    num_taken = 0
    for chosen in itertools.product([False, True], repeat=len(OPTIONS)):
        values = [value for option, is_in in zip(OPTIONS, chosen, strict=True) if is_in for value in option]
        if "launch.spot=true" in values and "launch.checkpoints=false" in values:
            continue
        assert refused_by_botocore(request_of(*values, base=base)) == "", values
        num_taken += 1
    assert num_taken == 48


def test_botocore_would_have_said_it():
    request = request_of()
    assert "Invalid type" in refused_by_botocore({**request, "HyperParameters": {"a": 1}})
    assert "Unknown parameter" in refused_by_botocore({**request, "Spot": True})
    assert "is none of" in refused_by_botocore({**request, "ResourceConfig": {"InstanceType": "ml.x.y"}})


# -- metrics ---------------------------------------------------------------------


def test_metrics_are_found_in_our_lines():
    line = "[metrics] epoch=3 train/loss=0.5 val/acc_top1=0.9131 val/loss=nan val/f1_macro=1e-05"
    result = "[result] val/acc_top1=0.9 test/acc_top1=inf seconds=12.5"
    found = {}
    for definition in metric_definitions():
        for text in (line, result):
            match = re.search(definition["Regex"], text)
            if match:
                found.setdefault(definition["Name"], match[1])
    assert found == {
        "epoch": "3",
        "train/loss": "0.5",
        "val/acc_top1": "0.9131",
        "val/loss": "nan",
        "val/f1_macro": "1e-05",
        "test/acc_top1": "inf",
        "seconds": "12.5",
    }


# -- limits ------------------------------------------------------------------------


def shape_at(path):
    shape = operation()
    for step in path.split("."):
        if step == "[]":
            shape = shape.member
        elif step in ("{}", "{key}"):
            shape = shape.value if step == "{}" else shape.key
        else:
            shape = shape.members[step]
    return shape


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.path)
def test_our_limits_are_the_service_models(limit):
    model = shape_at(limit.path).metadata
    assert (limit.least, limit.most) == (model.get("min", 0), model.get("max"))
    assert limit.pattern == model.get("pattern")


def put(request, path, value):
    node = request
    for step in path[:-1]:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
    node[path[-1]] = value
    return request


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (["TrainingJobName"], "a" * 64, r"TrainingJobName has 64 characters, at most 63 are allowed: give launch.name"),
        (["TrainingJobName"], "a_b", r"TrainingJobName is 'a_b', which is not of the form"),
        (["RoleArn"], "arn:aws:iam::12:role/short", r"RoleArn is .* not of the form .*: give launch.role=ARN"),
        (["HyperParameters", "x"], "y" * 2501, r"HyperParameters.x has 2501 characters"),
        (["HyperParameters", "x"], "a\u2028b", r"HyperParameters.x is .* not of the form"),
        (["HyperParameters", "x" * 257], "", r"HyperParameters, name xxx.* has 257 characters"),
        (["HyperParameters"], dict.fromkeys(map(str, range(101)), ""), r"HyperParameters has 101 items, at most 100"),
        (["Environment"], {"a": "b" * 513}, r"Environment.a has 513 characters"),
        (["Environment"], {"1a": "b"}, r"Environment, name 1a, is '1a'"),
        (["AlgorithmSpecification", "MetricDefinitions"], [{}] * 41, r"MetricDefinitions has 41 items, at most 40"),
        (["AlgorithmSpecification", "MetricDefinitions", 0, "Regex"], "x" * 501, r"\[0\].Regex has 501 characters"),
        (["OutputDataConfig", "S3OutputPath"], "/folder", r"S3OutputPath is '/folder'"),
        (["StoppingCondition", "MaxRuntimeInSeconds"], 0, r"MaxRuntimeInSeconds is 0, at least 1"),
        (["Tags"], [{"Key": "a!", "Value": ""}], r"Tags\[0\].Key is 'a!'"),
        (["ResourceConfig", "KeepAlivePeriodInSeconds"], 30_000, r"is 30000, at most 21600: lower launch.keep_alive_s"),
    ],
)
def test_what_the_api_would_refuse(path, value, match):
    request = put(copy.deepcopy(request_of()), path, value)
    with pytest.raises(UserError, match=match) as caught:
        limits.check(request)
    assert str(caught.value).startswith("The job's ")
