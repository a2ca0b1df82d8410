"""What is looked at before, and beside, an endpoint's creation."""

import json
import re

import pytest
from hosting_models import NOTHING, ONE
from launch_jobs import wait_until


def test_a_dry_run_sends_nothing(aws, deploy, there_is):
    shown = deploy("launch.dry_run=true", name="dry", target="gpu")
    assert shown.code == 0, shown.err
    assert not aws.requests
    blocks = dict(re.findall(r"-- (\w+)\n(\{.*?\n\})", shown.out, flags=re.S))
    variant = json.loads(blocks["CreateEndpointConfig"])["ProductionVariants"][0]
    assert (variant["InstanceType"], variant["InferenceAmiVersion"]) == (
        "ml.g5.xlarge",
        "al2023-ami-sagemaker-inference-gpu-4-1",
    )
    assert "ray:serve-ml-sagemaker-cuda-v1.4" in json.loads(blocks["CreateModel"])["PrimaryContainer"]["Image"]
    assert "1.4 USD an hour" in shown.out
    assert "Dry run: nothing was sent." in shown.out
    assert there_is("dry") == NOTHING


def test_a_limit_for_an_hour(aws, deploy):
    refused = deploy("max_usd_per_hour=1", name="dear", target="gpu")
    assert (refused.code, "max_usd_per_hour=1: it could cost 1.4 USD an hour" in refused.err) == (2, True)
    unknown = deploy("max_usd_per_hour=1", "instance_type=ml.m5.large", name="dear")
    assert (unknown.code, "cannot be kept, since the price is unknown" in unknown.err) == (2, True)
    assert not aws.sent("CreateModel")


def test_not_waiting(aws, deploy, sagemaker):
    started = deploy("launch.wait=false", name="soon")
    assert started.code == 0
    assert "soon, Creating" in started.out
    finished = deploy(name="soon")
    assert finished.code == 0, finished.err
    assert "soon, InService" in finished.out
    assert "golden 75.0%" in finished.out
    assert len(aws.sent("CreateEndpoint")) == 1


@pytest.mark.slow
def test_one_that_has_failed_before_is_made_anew(aws, deploy, there_is):
    aws.faults.set(no_capacity=True)
    assert deploy("launch.wait=false", name="again").code == 0
    wait_until(lambda: aws._backend.endpoints["again"].status == "Failed")
    aws.faults.set(no_capacity=False)
    assert deploy(name="again").code == 0
    assert there_is("again") == ONE


@pytest.mark.slow
def test_a_model_folder_without_an_example(deploy, model):
    (model / "example.jpg").unlink()
    made = deploy(name="untested")
    assert made.code == 0
    assert "has no example.jpg: the endpoint is not tested" in made.err


def test_weights_of_another_model(aws, deploy, model):
    (model / "model.safetensors").write_bytes(b"other")
    refused = deploy(name="foreign")
    assert refused.code == 2
    assert "is not the file that model.json describes" in refused.err
    assert not aws.requests
