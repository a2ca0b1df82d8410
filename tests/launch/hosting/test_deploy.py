"""``launch.deploy`` from a model folder to an endpoint that answers, and back where something fails."""

import json
import re
import threading

import boto3
import pytest
from hosting_models import NOTHING, ONE, write_model
from launch_jobs import keys, wait_until


def serving(aws, name):
    """The configuration and the container that answer for an endpoint."""
    endpoint = aws._backend.endpoints[name]
    return endpoint.config.name, endpoint.container


def test_from_a_folder_to_an_answer_an_update_and_the_end(aws, deploy, endpoints, model, there_is, tmp_path):
    made = deploy(name="whole")
    assert made.code == 0, made.err
    assert "endpoint        whole, InService" in made.out
    assert "example.jpg: golden 75.0%, as expected within 0.001" in made.out
    assert "cost            0.2 USD an hour as long as it exists" in made.out
    assert re.search(r"1,000 requests  [\d.e-]+ USD where one follows the other", made.out)
    assert "python -m launch.endpoints delete whole" in made.out
    assert re.search(r"Creating\n.*InService  \(\d+ s\)", made.err)
    assert there_is("whole") == ONE

    asked = endpoints("invoke", "whole", model / "example.jpg", "--top-k", 2)
    assert (asked.code, asked.out) == (0, f"{model / 'example.jpg'}  golden 75.0%  other 25.0%\n")

    config, container = serving(aws, "whole")
    other = write_model(tmp_path / "other", "silver")
    updated = deploy(name="whole", folder=other)
    assert updated.code == 0, updated.err
    assert "example.jpg: silver 75.0%" in updated.out
    assert f"removed configuration {config}" in updated.err
    assert there_is("whole") == ONE
    assert container.port != serving(aws, "whole")[1].port

    removed = endpoints("delete", "whole")
    assert removed.code == 0, removed.err
    assert re.findall(r"^removed (\w+)", removed.out, re.M) == ["endpoint", "configuration", "model"], removed.out
    assert there_is("whole") == NOTHING


def test_the_same_command_again_makes_nothing(aws, deploy, there_is):
    assert deploy(name="twice").code == 0
    aws.requests.clear()
    again = deploy(name="twice")
    assert again.code == 0, again.err
    assert "serves this model already" in again.err
    assert "model.tar.gz" in again.err
    assert "there already" in again.err
    actions = {call.action for call in aws.requests}
    assert not actions & {"CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "PutObject"}
    assert there_is("twice") == ONE


def test_the_old_one_answers_until_the_new_one_is_healthy(aws, deploy, tmp_path):
    assert deploy(name="seamless").code == 0
    answers, is_over = [], []
    runtime = boto3.client("sagemaker-runtime")
    picture = (tmp_path / "model" / "example.jpg").read_bytes()

    def ask():
        while not is_over:
            body = runtime.invoke_endpoint(EndpointName="seamless", Body=picture)["Body"].read()
            answers.append(json.loads(body)["label"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        aws.faults.set(host_delay_s=0.3)
        assert deploy(name="seamless", folder=write_model(tmp_path / "b", "silver")).code == 0
        wait_until(lambda: answers[-1] == "silver")
    finally:
        is_over.append(True)
        thread.join()
    assert set(answers) == {"golden", "silver"}
    assert sorted(answers) == answers, "first the old one's answers, then the new one's"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("crash", "did not pass the ping health check"),
        ("lie", "answers golden 0.5000 for example.jpg, and the model folder golden 0.7500"),
    ],
)
def test_a_failed_creation_leaves_nothing(deploy, there_is, behaviour, sentence):
    failed = deploy(f"+launch.environment.BEHAVIOUR={behaviour}", name="failed")
    assert failed.code == 2
    assert sentence in failed.err
    assert "is removed again, so that nothing is paid for" in failed.err
    assert ("container  Error: no such weights" in failed.err) == (behaviour == "crash")
    assert there_is("failed") == NOTHING


@pytest.mark.parametrize("behaviour", ["crash", pytest.param("lie", marks=pytest.mark.slow)])
def test_a_failed_update_leaves_what_was(aws, deploy, there_is, endpoints, model, behaviour):
    name = f"kept-{behaviour}"
    assert deploy("autoscale.max=3", "autoscale.target=100", name=name).code == 0
    before = serving(aws, name)[0]
    failed = deploy(f"+launch.environment.BEHAVIOUR={behaviour}", name=name)
    assert failed.code == 2
    assert f"{name} answers as before" in failed.err
    assert serving(aws, name)[0] == before
    assert there_is(name) == ONE
    targets = boto3.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{name}/variant/AllTraffic"]
    )["ScalableTargets"]
    assert [(item["MinCapacity"], item["MaxCapacity"]) for item in targets] == [(1, 3)]
    assert endpoints("invoke", name, model / "example.jpg").code == 0


def test_no_machine(aws, deploy, there_is):
    aws.faults.set(no_capacity=True)
    failed = deploy(name="nowhere")
    assert failed.code == 2
    assert "InsufficientInstanceCapacity" in failed.err
    assert "Choose another instance_type=TYPE" in failed.err
    assert there_is("nowhere") == NOTHING


@pytest.mark.parametrize(
    ("action", "code", "message", "sentence"),
    [
        (
            "CreateEndpoint",
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.c6i.xlarge for endpoint usage' is 0 Instances",
            r"the quota 'ml.c6i.xlarge for endpoint usage' is 0 .* instance_type=TYPE",
        ),
        pytest.param(
            *("CreateModel", "AccessDeniedException", "no", "sagemaker:CreateModel is not permitted"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("CreateEndpointConfig", "ValidationException", "One or more are wrong", "AWS refuses the request"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_aws_refuses(aws, deploy, there_is, action, code, message, sentence):
    aws.faults.set(errors={action: [code, message]})
    refused = deploy(name="refused")
    assert refused.code == 2
    assert re.search(sentence, refused.err), refused.err
    assert there_is("refused") == NOTHING


@pytest.mark.slow
def test_too_many_requests_are_waited_for(aws, deploy):
    aws.faults.set(throttle_attempts=1)
    assert deploy(name="slowly").code == 0


def test_without_a_role(deploy, monkeypatch):
    monkeypatch.delenv("SAGEMAKER_ROLE")
    refused = deploy(name="unserved")
    assert refused.code == 2
    assert "No role is set" in refused.err


def test_a_name_that_is_taken(aws, sagemaker, deploy, endpoints):
    sagemaker.create_model(ModelName="theirs", ExecutionRoleArn=aws.role, PrimaryContainer={"Image": "image"})
    variant = {"VariantName": "all", "ModelName": "theirs", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="theirs", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="theirs", EndpointConfigName="theirs")
    uploaded = keys(aws)
    refused = deploy(name="theirs")
    assert refused.code == 2
    assert "name=theirs is taken" in refused.err
    assert keys(aws) == uploaded, "nothing travels for what is refused"
    refused = endpoints("delete", "theirs")
    assert refused.code == 2
    assert "was not made by dogbreed" in refused.err
    assert "--force" in refused.err
    wait_until(lambda: sagemaker.describe_endpoint(EndpointName="theirs")["EndpointStatus"] == "Failed")
    assert endpoints("delete", "theirs", "--force").code == 0
    assert sagemaker.list_endpoints(NameContains="theirs")["Endpoints"] == []
    assert sagemaker.list_models(NameContains="theirs")["Models"] == []


@pytest.mark.slow
def test_another_kind_needs_another_name(deploy):
    assert deploy(name="less", target="serverless").code == 0
    refused = deploy(name="less")
    assert refused.code == 2
    assert "less is a serverless endpoint and cannot become a realtime one" in refused.err


@pytest.mark.slow
def test_autoscaling_comes_changes_and_goes(deploy, endpoints):
    client = boto3.client("application-autoscaling")
    resource = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/scaled/variant/AllTraffic"}

    def policies():
        return client.describe_scaling_policies(**resource)["ScalingPolicies"]

    assert deploy("autoscale.max=3", "autoscale.target=600", name="scaled").code == 0
    [policy] = policies()
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 600
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerVariantInvocationsPerInstance"
    assert deploy("autoscale.max=2", "autoscale.target=60", name="scaled").code == 0
    assert [policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for policy in policies()] == [60]
    none = deploy(name="scaled")
    assert "autoscaling removed" in none.err
    targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource["ResourceId"]])
    assert targets["ScalableTargets"] == [], "with which AWS removes the policies"


@pytest.mark.slow
def test_later(aws, deploy, endpoints, model, tmp_path):
    made = deploy("autoscale.min=0", "autoscale.max=2", "autoscale.target=3", name="later", target="async")
    assert made.code == 0, made.err
    assert "example.jpg: golden 75.0%" in made.out
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNames=["later-from-zero"])["MetricAlarms"]
    assert alarms[0]["AlarmActions"][0].endswith("policyName/later-from-zero")
    (tmp_path / "bad.jpg").write_text("no")
    asked = endpoints("invoke", "later", model / "example.jpg", tmp_path / "bad.jpg")
    assert asked.code == 2
    assert "golden 75.0%" in asked.out
    assert asked.err == f"Error: {tmp_path / 'bad.jpg'}: The picture cannot be decoded.\n"
    assert not keys(aws, "dogbreed/endpoints/later"), "requests and answers are removed when they are read"
    assert endpoints("delete", "later").code == 0
    assert boto3.client("cloudwatch").describe_alarms(AlarmNames=["later-from-zero"])["MetricAlarms"] == []


@pytest.mark.slow
def test_requests_and_answers_are_kept(aws, deploy):
    assert deploy("capture.percent=100", name="watched").code == 0
    kept = sorted(keys(aws, "dogbreed/endpoints/watched/capture/watched/AllTraffic/"))
    assert len(kept) == 4, "one for each question of the test"
    body = aws.worker.client("s3").get_object(Bucket=aws.bucket, Key=kept[0])["Body"].read()
    data = json.loads(body)["captureData"]
    assert data["endpointInput"]["encoding"] == "BASE64"
    assert json.loads(data["endpointOutput"]["data"])["label"] == "golden"
