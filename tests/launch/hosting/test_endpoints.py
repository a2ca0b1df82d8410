"""``launch.endpoints``: what there is, what it answers, what is left over; nothing of anybody else's is touched."""

import json

import pytest
from hosting_models import write_model
from launch_jobs import keys

NOTHING = {"endpoints": 0, "configurations": 0, "models": 0}


def test_the_list_tells_state_machines_and_cost(aws, deploy, endpoints, sagemaker):
    assert deploy("instance_count=2", name="listed").code == 0
    assert deploy(name="lesser", target="serverless").code == 0
    told = endpoints("list", "--prices", "prices.yaml")
    rows = {line.split()[0]: line for line in told.out.splitlines()}
    assert "2 × ml.c6i.xlarge" in rows["listed"]
    assert "0.400" in rows["listed"]
    assert "4096 MB × at most 5" in rows["lesser"]
    assert "InService" in rows["lesser"]
    variant = {"VariantName": "all", "ModelName": "others", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName="others", ExecutionRoleArn=aws.role, PrimaryContainer={"Image": "image"})
    sagemaker.create_endpoint_config(EndpointConfigName="others", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="others", EndpointConfigName="others")
    assert "others" not in endpoints("list").out
    assert "others" in endpoints("list", "--all").out
    assert "others" not in endpoints("leftovers").out


def test_answers_as_predict_prints_them(deploy, endpoints, model, tmp_path):
    assert deploy(name="asked").code == 0
    (tmp_path / "bad.jpg").write_text("no")
    told = endpoints("invoke", "asked", model / "example.jpg", tmp_path / "bad.jpg", "--json", "--top-k", 2)
    assert told.code == 2
    first, second = json.loads(told.out)
    assert first["label"] == "golden"
    assert first["told"]["X-Amzn-SageMaker-Custom-Attributes"] == "top_k=2"
    assert second["error"] == "The picture cannot be decoded"
    missing = endpoints("invoke", "asket", model / "example.jpg")
    assert missing.code == 2
    assert "There is no endpoint asket in us-east-1. Did you mean asked?" in missing.err
    few = endpoints("invoke", "asked", model / "example.jpg", "--top-k", 0)
    assert (few.code, "--top-k 0 must be at least 1" in few.err) == (2, True)
    assert "nothing.jpg does not exist" in endpoints("invoke", "asked", "nothing.jpg").err


@pytest.mark.slow
def test_one_that_does_not_answer(aws, deploy, endpoints, model):
    aws.faults.set(host_delay_s=1.0)
    assert deploy("launch.wait=false", name="silent").code == 0
    refused = endpoints("invoke", "silent", model / "example.jpg")
    assert refused.code == 2
    assert "The endpoint silent does not answer: it is Creating" in refused.err


def test_delete_of_what_is_not_there(endpoints):
    refused = endpoints("delete", "nobody")
    assert refused.code == 2
    assert "There is no endpoint nobody" in refused.err


def test_leftovers_are_listed_and_removed(aws, sagemaker, deploy, endpoints, there_is, tmp_path):
    """An endpoint that somebody has deleted in the console leaves configuration, model and archive."""
    assert deploy(name="left", folder=write_model(tmp_path / "left", "left")).code == 0
    assert deploy(name="used", folder=write_model(tmp_path / "used", "used")).code == 0
    archives = keys(aws, "dogbreed/models/")
    sagemaker.delete_endpoint(EndpointName="left")
    told = endpoints("leftovers")
    assert told.code == 0
    rows = [line.split()[:2] for line in told.out.splitlines() if " left-" in line or "archive" in line]
    assert [kind for kind, _ in rows][:2] == ["configuration", "model"]
    assert "used" not in told.out
    young = endpoints("leftovers", "--remove")
    assert (young.code, "3 of them are younger than 60 minutes and stay" in young.out) == (0, True)
    assert there_is("left") == {"endpoints": 0, "configurations": 1, "models": 1}
    assert keys(aws, "dogbreed/models/") == archives
    assert "--min-age nan must be a number of minutes" in endpoints("leftovers", "--remove", "--min-age", "nan").err
    assert endpoints("leftovers", "--remove", "--min-age", 0).code == 0
    assert there_is("left") == NOTHING
    assert there_is("used") == {"endpoints": 1, "configurations": 1, "models": 1}
    assert keys(aws, "dogbreed/models/") < archives
    assert "nothing left over" in endpoints("leftovers").out
    assert endpoints("delete", "used").code == 0


@pytest.mark.slow
def test_half_of_a_delete(aws, deploy, endpoints, there_is):
    assert deploy(name="half").code == 0
    aws.faults.set(errors={"DeleteModel": ["AccessDeniedException", "no"]})
    refused = endpoints("delete", "half")
    assert refused.code == 2
    assert there_is("half") == {"endpoints": 0, "configurations": 0, "models": 1}
    aws.faults.clear()
    assert endpoints("delete", "half").code == 0
    assert there_is("half") == NOTHING
