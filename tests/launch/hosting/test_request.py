"""Requests, held against botocore's service models; our tables of limits, too; the archive; costs."""

import ast
import json
import re
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator
from helpers import compose_hosting
from hosting_models import write_model
from launch_requests import operation, refused_by_botocore

from dogbreed.errors import UserError
from dogbreed.serving.ray.files import ray_files
from launch.hosting import limits as tables
from launch.hosting.archive import build_archive
from launch.hosting.plan import HostFacts, make_deploy_plan, make_transform_plan
from launch.hosting.request import update_request
from launch.hosting.settings import DeploySettings, TransformSettings
from launch.pricing import HOSTING, PriceTable
from launch.standin.container import plain_command

FACTS = HostFacts(
    region="eu-central-1",
    bucket="b",
    role_arn="arn:aws:iam::123456789012:role/Trainer",
    image="763104351884.dkr.ecr.eu-central-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4",
    archive_sha256="0" * 64,
    version="0.1.0",
)
VPC = ("launch.subnets=[subnet-1]", "launch.security_groups=[sg-1]")
ALL = [
    ("target=cpu",),
    ("target=gpu", *VPC, "launch.kms_key=k", "+launch.environment.A=b", "+launch.tags.team=dogs"),
    ("target=cpu", "autoscale.max=3", "autoscale.target=600", "capture.percent=20"),
    ("target=async", "autoscale.min=0", "autoscale.max=2", "autoscale.target=3", "launch.kms_key=k"),
    ("target=serverless", "provisioned_concurrency=2"),
]
TABLES = {
    "CreateModel": tables.MODEL_LIMITS,
    "CreateEndpointConfig": tables.CONFIG_LIMITS,
    "CreateEndpoint": tables.ENDPOINT_LIMITS,
    "CreateTransformJob": tables.TRANSFORM_LIMITS,
}


def plan_of(*overrides, facts=FACTS):
    settings = DeploySettings.of(compose_hosting("deploy", "source=m", "name=dogs", *overrides))
    return make_deploy_plan(settings, facts)


def refused(service, action, request):
    shape = botocore.session.get_session().get_service_model(service).operation_model(action).input_shape
    return ParamValidator().validate(dict(request), shape).generate_report()


@pytest.mark.parametrize("overrides", ALL, ids=" ".join)
def test_botocore_takes_every_request(overrides):
    plan = plan_of(*overrides)
    for action in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        assert not refused_by_botocore(plan.requests[action], action)
    for keeps in (False, True):
        update = update_request(plan.settings, plan.config_name, keeps_count=keeps)
        assert not refused_by_botocore(update, "UpdateEndpoint")
    if plan.scaling:
        assert not refused("application-autoscaling", "RegisterScalableTarget", plan.scaling.target)
        assert not refused("application-autoscaling", "PutScalingPolicy", plan.scaling.policy)
    if plan.scaling and plan.scaling.alarm:
        assert not refused("application-autoscaling", "PutScalingPolicy", plan.scaling.from_zero)
        assert not refused("cloudwatch", "PutMetricAlarm", plan.scaling.alarm)


def test_botocore_takes_a_transform_job():
    words = ("source=m", "input=s3://b/in/", "output=s3://b/out/", "instance_type=ml.g5.xlarge", "launch.kms_key=k")
    settings = TransformSettings.of(compose_hosting("transform", *words))
    plan = make_transform_plan(settings, FACTS, datetime(2026, 11, 28, 12), "abcd")
    for action, request in plan.requests.items():
        assert not refused_by_botocore(request, action)
    assert plan.name == "transform-20261128-120000-abcd"
    assert plan.job["TransformResources"]["TransformAmiVersion"] == "al2-ami-sagemaker-batch-gpu-535"


@pytest.mark.parametrize(
    ("action", "limit"),
    [(action, limit) for action, table in TABLES.items() for limit in table],
    ids=lambda value: getattr(value, "path", value),
)
def test_our_limits_are_the_service_models(action, limit):
    shape, is_key = operation(action), False
    for step in limit.path.split("."):
        is_key = step == "{key}"
        if step == "[]":
            shape = shape.member
        elif step in ("{}", "{key}"):
            shape = shape.key if is_key else shape.value
        else:
            shape = shape.members[step]
    known = shape.metadata
    assert (limit.least, limit.most) == (known.get("min", 0), known.get("max"))
    assert limit.pattern in (None, known.get("pattern"))


@pytest.mark.slow
def test_the_whole_of_an_update_is_content():
    """The same settings are the same names; whatever changes, changes the name."""
    first = plan_of("target=cpu")
    assert plan_of("target=cpu").requests == first.requests
    more = plan_of("target=cpu", "instance_count=2")
    assert more.model_name == first.model_name
    assert more.config_name != first.config_name
    assert plan_of("target=cpu", "+launch.environment.A=b").model_name != first.model_name


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("+launch.tags.a='x\u0007'",), r"The model's Tags\[2\].Value is .* mend launch.tags"),
        ((f"+launch.environment.A={'x' * 513}",), r"launch.environment.A must be a text of at most 512"),
    ],
)
def test_limits_are_told(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        plan_of("target=cpu", *overrides)


def test_the_archive_is_the_same_twice_and_holds_what_a_container_needs(tmp_path, monkeypatch):
    model = write_model(tmp_path / "model")
    (model / "notes.txt").write_text("mine")
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "one"))
    one = build_archive(model)
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "two"))
    two = build_archive(model)
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.path.parent.name == one.sha256 == two.sha256
    with tarfile.open(one.path) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "ml", filter="data")
    roots = {name for name in names if not name.startswith("code/")}
    assert roots == {
        *("config.yaml", "dogbreed_app.py", "model.json", "model.safetensors"),
        *("example.jpg", "example.json", "training_config.yaml"),
    }
    assert not [name for name in names if name.startswith(("code/launch", "code/tests", "code/dogbreed/conf/"))]
    assert "code/dogbreed/serving/predictor.py" in names
    assert re.search(r"import_path: dogbreed_app:app", (tmp_path / "ml" / "config.yaml").read_text())
    # The container's own command imports the code inside the archive, not the one here.
    command = plain_command(tmp_path / "ml", 8080, "image")
    asked = "import dogbreed; print(dogbreed.__file__)"
    words, place = [sys.executable, "-c", asked], tmp_path / "ml"
    found = subprocess.run(words, env=command.environment, cwd=place, capture_output=True, text=True)
    assert found.stdout.strip() == str(tmp_path / "ml" / "code" / "dogbreed" / "__init__.py")


def test_another_model_is_another_archive(tmp_path):
    assert build_archive(write_model(tmp_path / "a")).sha256 != build_archive(write_model(tmp_path / "b", "b")).sha256


# Of what our modules import, what Amazon's Ray Serve container has: docker/ray/pyproject.toml of its repository.
IN_CONTAINER = {"torch", "torchvision", "numpy", "PIL", "yaml", "fastapi", "uvicorn", "starlette", "anyio", "ray"}
IN_CONTAINER |= {"prometheus_client", "pydantic", "h11", "tqdm"}  # what Ray, uvicorn and Hugging Face need
DISTRIBUTIONS = {"huggingface_hub": "huggingface-hub", "python_multipart": "python-multipart"}
LOADED = """
import importlib, json, pkgutil, sys
import dogbreed.serve, dogbreed.serving
for found in pkgutil.walk_packages(dogbreed.serving.__path__, "dogbreed.serving."):
    if found.name != "dogbreed.serving.ray.app":
        importlib.import_module(found.name)
import dogbreed.model_folder
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.startswith("dogbreed.")]))
"""


def imported_at_once(file):
    """Names of packages that a module imports when it is itself imported."""
    for node in ast.parse(Path(file).read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


@pytest.mark.slow
def test_what_answering_imports_is_in_the_container_or_installed_there():
    told = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    names = {name for file in json.loads(told.stdout) for name in imported_at_once(file)}
    names -= {"dogbreed", *sys.stdlib_module_names, *IN_CONTAINER}
    pins = {line.partition("==")[0] for line in ray_files()["code/requirements.txt"].splitlines()}
    assert {DISTRIBUTIONS.get(name, name) for name in names} <= pins


def test_costs():
    table = PriceTable({"eu-central-1": {f"{HOSTING}:ml.g5.xlarge": 1.5, "ml.g5.xlarge": 9.0}}, None, "AWS Price List")
    priced = HostFacts(**{**vars(FACTS), "prices": table})
    one = plan_of("target=gpu", facts=priced).cost
    assert (one.most_usd, one.least_usd) == (1.5, 1.5)
    assert "1.5 USD an hour as long as it exists, requests or not" in one.describe()
    assert one.describe_requests(0.024).startswith("0.01 USD where one follows the other all the time (24 ms each")
    three = plan_of("target=gpu", "autoscale.max=3", "autoscale.target=9", facts=priced).cost
    assert (three.most_usd, three.least_usd) == (4.5, 1.5)
    unknown = plan_of("target=cpu", facts=priced).cost
    assert unknown.most_usd is None
    assert "AWS Price List has no price of it in eu-central-1" in unknown.describe()
    serverless = HostFacts(**{**vars(FACTS), "prices": PriceTable({"eu-central-1": {"serverless": 0.00002}})})
    less = plan_of("target=serverless", facts=serverless).cost
    assert less.least_usd == 0
    assert less.most_usd == pytest.approx(0.00002 * 3600 * 4 * 5)
    assert less.describe_requests(0.5).startswith("0.04 USD")
