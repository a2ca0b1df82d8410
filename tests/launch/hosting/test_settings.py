"""What conf/deploy.yaml and conf/transform.yaml may say, and the sentence where it may not."""

import re

import pytest
from helpers import compose_hosting

from dogbreed.errors import UserError
from launch.hosting.names import content_name
from launch.hosting.settings import DeploySettings, TransformSettings

WRONG = [
    ((), "name=", "name=dogs_2", r"name=dogs_2 must be letters, digits and hyphens.* Did you mean dogs-2\?"),
    ((), "name=", f"name={'d' * 64}", r"has 64 characters; an endpoint's name has at most 63"),
    ((), "name=", "name=-dogs", r"must be letters, digits and hyphens"),
    ((), "target=", "target=gpuu", r"target=gpuu does not exist. Did you mean gpu"),
    (("memory_mb=2048",), "", "", r"memory_mb is for target=serverless"),
    (("max_concurrent=2",), "", "", r"max_concurrent is for target=async"),
    (("output=s3://a/b",), "", "", r"output is for target=async"),
    (("instance_type=ml.g5.xlagre",), "", "", r"instance_type=ml.g5.xlagre does not exist. Did you mean ml.g5"),
    (("instance_count=0",), "", "", r"instance_count=0 must be at least 1"),
    (("instance_count=two",), "", "", r"instance_count=two must be a whole number"),
    (("autoscale.max=2",), "", "", r"autoscale.target must be a number above 0: requests a minute"),
    (("autoscale.target=2",), "", "", r"autoscale.max must be given"),
    (("autoscale.min=0", "autoscale.max=2", "autoscale.target=1"), "", "", r"autoscale.min=0 must be at least 1"),
    (("autoscale.min=3", "autoscale.max=2", "autoscale.target=1"), "", "", r"autoscale.max=2 must be at least 3"),
    (("autoscale.max=2", "autoscale.target=1", "instance_count=3"), "", "", r"instance_count=3 must lie between"),
    (("capture.percent=101",), "", "", r"capture.percent=101 must be between 0 and 100"),
    (("capture.output=photos",), "", "", r"capture.output: photos is no place in S3"),
    (("image=my image",), "", "", r"image=my image must be auto, or an image's address"),
    (("ami=gpu-4",), "", "", r"ami=gpu-4 does not exist"),
    (("health_check_timeout_s=10",), "", "", r"health_check_timeout_s=10 must be between 60 and 3600"),
    (("launch.poll_s=0",), "", "", r"launch.poll_s=0"),
    (("+launch.tags.dogbreed=x",), "", "", r"launch.tags.dogbreed is taken"),
    (("+launch.spot=true",), "", "", r"launch.spot does not exist here"),
    (("launch.subnets=[subnet-1]",), "", "", r"launch.subnets is given without launch.security_groups"),
]
SERVERLESS_WRONG = [
    (("instance_type=ml.g5.xlarge",), r"instance_type is not for target=serverless.* no GPU"),
    (("memory_mb=3000",), r"memory_mb=3000 must be one of 1024, 2048"),
    (("max_concurrency=201",), r"max_concurrency=201 must be between 1 and 200"),
    (("provisioned_concurrency=6",), r"provisioned_concurrency=6 must be between 1 and 5"),
    (("capture.percent=1",), r"capture is not for target=serverless"),
    (("autoscale.max=2", "autoscale.target=1"), r"autoscale is not for target=serverless"),
]


def deploy_settings(*overrides):
    given = ["source=runs/x", "name=dogs", "target=cpu"]
    keys = {override.partition("=")[0] for override in overrides}
    kept = [word for word in given if word.partition("=")[0] not in keys]
    return DeploySettings.of(compose_hosting("deploy", *kept, *overrides))


@pytest.mark.parametrize(("overrides", "key", "instead", "sentence"), WRONG, ids=lambda value: str(value)[:30])
def test_wrong_values_are_refused(overrides, key, instead, sentence):
    with pytest.raises(UserError, match=sentence):
        deploy_settings(*overrides, *([instead] if key else []))


@pytest.mark.parametrize(("overrides", "sentence"), SERVERLESS_WRONG, ids=lambda value: str(value)[:30])
def test_serverless_has_less(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        deploy_settings("target=serverless", *overrides)


@pytest.mark.parametrize(("key", "example"), [("source", "model=runs/NAME"), ("name", "name=dogs"), ("target", "=cpu")])
def test_what_must_be_given(key, example):
    given = [word for word in ("source=runs/x", "name=dogs", "target=cpu") if not word.startswith(key)]
    with pytest.raises(UserError, match=rf"must be given: add .*{re.escape(example)}"):
        DeploySettings.of(compose_hosting("deploy", *given))


def test_a_target_binds_what_is_not_typed():
    assert deploy_settings("target=gpu").instance_type == "ml.g5.xlarge"
    assert deploy_settings("target=gpu", "instance_type=ml.g6.xlarge").instance_type == "ml.g6.xlarge"
    serverless = deploy_settings("target=serverless", "memory_mb=2048")
    assert (serverless.memory_mb, serverless.max_concurrency, serverless.instance_type) == (2048, 5, None)
    assert deploy_settings("target=async").max_concurrent == 4
    assert deploy_settings("name=2026").name == "2026"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("input=photos/", r"input: photos/ is no place in S3"),
        ("max_payload_mb=50", r"max_concurrent=4 times max_payload_mb=50 must be at most 100"),
        ("accept=text/html", r"accept=text/html does not exist"),
        ("instance_type=ml.m5", r"instance_type=ml.m5 is no instance type"),
    ],
)
def test_wrong_values_of_a_transform_job(override, sentence):
    given = ["source=m", "input=s3://b/in/", "output=s3://b/out/"]
    given = [word for word in given if word.partition("=")[0] != override.partition("=")[0]]
    with pytest.raises(UserError, match=sentence):
        TransformSettings.of(compose_hosting("transform", *given, override))


def test_names_say_what_they_hold():
    assert content_name("dogs", {"a": 1, "b": 2}) == content_name("dogs", {"b": 2, "a": 1})
    assert content_name("dogs", {"a": 1}) != content_name("dogs", {"a": 2})
    longest = content_name("a-" * 31 + "b", {})
    assert len(longest) <= 63
    assert "--" not in longest
