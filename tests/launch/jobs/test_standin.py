"""The stand-in: real jobs through the real toolkit, what moto lacks, faults."""

import json
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from launch_jobs import keys, log, request, ship, wait_for, wait_until

from launch.aws.logs import read_log

STANDIN = "running"

# Counts to 4 in a checkpoint, a step a run of 0.2 s; says how it found its channel and what it was given.
COUNTING = """
import json, os, pathlib, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
place = base / "checkpoints" / "last.json"
step = json.loads(place.read_text()) if place.exists() else 0
print(f"begins at {step} with {os.listdir(os.environ['SM_CHANNEL_DATA'])} {os.environ['OWN']}", flush=True)
while step < 4:
    step += 1
    time.sleep(0.2)
    unfinished = place.with_suffix(".new")
    unfinished.write_text(json.dumps(step))
    unfinished.replace(place)
    print(f"[metrics] epoch={step} val/acc_top1=0.{step} val/loss=nan", flush=True)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(str(step))
run = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "run")
run.mkdir()
(run / "metrics.json").write_text(json.dumps({"val/acc_top1": 0.4}))
"""

FAILING = """
import os, pathlib
pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("No picture is in the folder: put some there.")
raise SystemExit(3)
"""

WAITING = """
import os, pathlib, time
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "half.txt").write_text("half")
pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "last.json").write_text("1")
print("waits", flush=True)
time.sleep(600)
"""


def channel(aws, prefix):
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/{prefix}/"}
    return {
        "ChannelName": "data",
        "DataSource": {"S3DataSource": source | {"S3DataDistributionType": "FullyReplicated"}},
    }


def read_all(aws, name):
    lines, position = [], None
    while True:
        new, reached = read_log(aws.worker.client("logs"), name, position)
        lines += new
        if not new and reached == position:
            return lines
        position = reached


@pytest.fixture(scope="module")
def interrupted(running):
    """A spot job whose machine is taken away at its second step, over."""
    running.faults.set(interrupt_on="epoch=2")
    running.worker.client("s3").put_object(Bucket=running.bucket, Key="photos/a/b.jpg", Body=b"picture")
    more = {"InputDataConfig": [channel(running, "photos")], "EnableManagedSpotTraining": True}
    more["StoppingCondition"] = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    ship(running, "spot", COUNTING, Environment={"OWN": "own words"}, RetryStrategy={"MaximumRetryAttempts": 2}, **more)
    job = wait_for(running, "spot")
    running.faults.clear()
    return job


@pytest.mark.slow
def test_a_spot_job_goes_on_from_its_checkpoint_after_its_machine_was_taken_away(aws, interrupted):
    assert interrupted.training_job_status == "Completed", interrupted.failure_reason
    phases = [entry["Status"] for entry in interrupted.transitions]
    once = ["Starting", "Downloading", "Training"]
    assert phases == [*once, "Interrupted", *once, "Uploading", "Completed"]
    texts = [line.text for line in read_all(aws, "spot")]
    begins = [text for text in texts if text.startswith("begins")]
    assert begins == ["begins at 0 with ['a'] own words", "begins at 2 with ['a'] own words"]
    steps = [text.split()[1] for text in texts if text.startswith("[metrics]")]
    assert steps == ["epoch=1", "epoch=2", "epoch=3", "epoch=4"]


def test_a_job_leaves_its_archives_checkpoints_and_metrics(aws, interrupted, tmp_path):
    root = "dogbreed/jobs/spot"
    archives = {f"{root}/output/spot/output/{name}.tar.gz" for name in ("model", "output")}
    assert keys(aws, root) == archives | {f"{root}/checkpoints/last.json"}
    aws.worker.client("s3").download_file(aws.bucket, f"{root}/output/spot/output/output.tar.gz", str(tmp_path / "o"))
    names = subprocess.run(["tar", "tzf", tmp_path / "o"], capture_output=True, text=True).stdout.split()
    assert names == ["run/metrics.json"]
    told = boto3.client("sagemaker").describe_training_job(TrainingJobName="spot")
    assert [(item["MetricName"], item["Value"]) for item in told["FinalMetricDataList"]] == [("val/acc_top1", 0.4)]
    assert told["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{aws.bucket}/{root}/output/spot/output/model.tar.gz"
    assert told["BillableTimeInSeconds"] >= 1


def test_the_whole_request_is_kept(aws, interrupted):
    told = boto3.client("sagemaker").describe_training_job(TrainingJobName="spot")
    assert told["Environment"] == {"OWN": "own words"}
    assert told["RetryStrategy"] == {"MaximumRetryAttempts": 2}
    assert [item["Name"] for item in told["AlgorithmSpecification"]["MetricDefinitions"]] == ["val/acc_top1"]
    assert boto3.client("sagemaker").list_tags(ResourceArn=told["TrainingJobArn"])["Tags"][0]["Key"] == "dogbreed"


def test_what_is_fetched_of_a_real_job_is_its_run_folder(aws, interrupted, store, tmp_path):
    from launch.fetch import fetch

    told = boto3.client("sagemaker").describe_training_job(TrainingJobName="spot")
    fetched = fetch(store, told, tmp_path / "run")
    assert fetched.parts == ("run", "model", "checkpoints")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == {"val/acc_top1": 0.4}
    assert (tmp_path / "run" / "model" / "model.json").read_text() == "4"
    assert (tmp_path / "run" / "checkpoints" / "last.json").read_text() == "4"


@pytest.mark.slow
def test_a_failed_job_gives_the_reason_it_has_written(aws):
    ship(aws, "failing", FAILING)
    job = wait_for(aws, "failing")
    assert job.training_job_status == job.secondary_status == "Failed"
    assert job.failure_reason == "AlgorithmError: No picture is in the folder: put some there., exit code: 1"
    assert "dogbreed/jobs/failing/output/failing/output/model.tar.gz" not in keys(aws)


@pytest.mark.slow
def test_a_stopped_job_leaves_what_it_has_come_to(aws):
    ship(aws, "stopped", WAITING)
    wait_until(lambda: any(line.text == "waits" for line in read_all(aws, "stopped")))
    boto3.client("sagemaker").stop_training_job(TrainingJobName="stopped")
    assert aws.job("stopped").training_job_status == "Stopping"
    job = wait_for(aws, "stopped")
    assert job.training_job_status == job.secondary_status == "Stopped"
    root = "dogbreed/jobs/stopped"
    assert f"{root}/checkpoints/last.json" in keys(aws)
    assert f"{root}/output/stopped/output/output.tar.gz" in keys(aws)
    with pytest.raises(ClientError, match="in status Stopped"):
        boto3.client("sagemaker").stop_training_job(TrainingJobName="stopped")


@pytest.mark.slow
def test_a_job_ends_at_its_limit(aws):
    ship(aws, "limited", WAITING, StoppingCondition={"MaxRuntimeInSeconds": 3})
    job = wait_for(aws, "limited")
    assert (job.training_job_status, job.secondary_status) == ("Stopped", "MaxRuntimeExceeded")


TWO_MACHINES = """
import os, torch.distributed as dist
dist.init_process_group("gloo")
got = [None] * dist.get_world_size()
dist.all_gather_object(got, os.environ["SM_CURRENT_HOST"])
print(f"together {sorted(got)}", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_machines_find_each_other(aws):
    asked = request(aws, "pair")
    distributed = asked["HyperParameters"] | {"sagemaker_torch_distributed_enabled": "true"}
    two = asked["ResourceConfig"] | {"InstanceCount": 2}
    ship(aws, "pair", TWO_MACHINES, HyperParameters=distributed, ResourceConfig=two)
    job = wait_for(aws, "pair")
    lines = read_all(aws, "pair")
    assert job.training_job_status == "Completed", [line.text for line in lines]
    told = {line.host for line in lines if line.text.endswith("together ['algo-1', 'algo-2']")}
    assert told == {"algo-1", "algo-2"}


def test_a_channel_without_objects_fails_the_job(aws):
    ship(aws, "empty", COUNTING, InputDataConfig=[channel(aws, "nothing")])
    assert wait_for(aws, "empty").failure_reason.startswith("ClientError: Data download failed:No S3 objects found")


def test_a_name_is_taken_once(aws, interrupted):
    with pytest.raises(ClientError, match="already exists"):
        boto3.client("sagemaker").create_training_job(**request(aws, "spot"))


def test_jobs_are_listed_newest_first_page_by_page(aws):
    for number in range(3):
        ship(aws, f"listed-{number}", COUNTING, InputDataConfig=[channel(aws, "nothing")])
        wait_for(aws, f"listed-{number}")
    asked = {"NameContains": "listed", "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 2}
    pages = list(boto3.client("sagemaker").get_paginator("list_training_jobs").paginate(**asked))
    names = [[item["TrainingJobName"] for item in page["TrainingJobSummaries"]] for page in pages]
    assert names == [["listed-2", "listed-1"], ["listed-0"]]


def test_a_job_can_be_updated(aws, interrupted):
    client = boto3.client("sagemaker")
    client.update_training_job(TrainingJobName="spot", ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    told = client.describe_training_job(TrainingJobName="spot")["ResourceConfig"]
    assert (told["KeepAlivePeriodInSeconds"], told["InstanceType"]) == (60, "ml.g5.xlarge")


def test_a_role_is_judged_by_its_policies(aws):
    client = boto3.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    bare = client.create_role(RoleName="bare", AssumeRolePolicyDocument=trust)["Role"]["Arn"]

    def may(role):
        answer = client.simulate_principal_policy(PolicySourceArn=role, ActionNames=["s3:GetObject", "ec2:Run"])
        return [item["EvalDecision"] for item in answer["EvaluationResults"]]

    assert may(aws.role) == ["allowed", "implicitDeny"]
    assert may(bare) == ["implicitDeny", "implicitDeny"]


def test_requests_are_kept_as_they_came(aws):
    aws.requests.clear()
    boto3.client("sagemaker").list_training_jobs(NameContains="x")
    assert aws.sent("ListTrainingJobs") == [{"NameContains": "x"}]
    with urllib.request.urlopen(f"{aws.url}/standin/requests?ListTrainingJobs") as answer:
        assert json.load(answer) == [{"NameContains": "x"}]


def post_faults(aws, **values):
    body = json.dumps(values).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{aws.url}/standin/faults", body, method="POST")) as answer:
        return json.load(answer)


def test_faults_are_set_over_http(aws):
    assert post_faults(aws, throttle_attempts=2)["throttle_attempts"] == 2
    aws.requests.clear()
    boto3.client("sagemaker").list_training_jobs()  # the SDK asks a third time
    assert len(aws.sent("ListTrainingJobs")) == 1
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post_faults(aws, throtle=1)
    urllib.request.urlopen(urllib.request.Request(f"{aws.url}/standin/faults", method="DELETE")).close()
    assert aws.faults.throttle_attempts == 0


def code_of(call, *args, **more):
    with pytest.raises(ClientError) as caught:
        call(*args, **more)
    return caught.value.response["Error"]["Code"]


def test_each_service_speaks_of_faults_in_its_own_words(aws):
    once = boto3.session.Config(retries={"total_max_attempts": 1})
    s3, iam, jobs = (boto3.client(name, config=once) for name in ("s3", "iam", "sagemaker"))
    aws.faults.set(throttle_every=1)
    assert code_of(s3.list_buckets) == "SlowDown"
    assert code_of(jobs.list_training_jobs) == "ThrottlingException"
    aws.faults.clear()
    aws.faults.set(expire_after=1)
    s3.list_buckets()
    assert code_of(s3.list_buckets) == "ExpiredToken"
    assert code_of(iam.list_roles) == "ExpiredToken"
    assert code_of(jobs.list_training_jobs) == "ExpiredTokenException"
    aws.faults.clear()
    aws.faults.set(errors={"CreateTrainingJob": ["ResourceLimitExceeded", "no more"]}, put_skip=1, put_failures=2)
    assert code_of(jobs.create_training_job, **request(aws, "refused")) == "ResourceLimitExceeded"
    s3.put_object(Bucket=aws.bucket, Key="a", Body=b"a")
    assert code_of(s3.put_object, Bucket=aws.bucket, Key="b", Body=b"b") == "InternalError"
    aws.faults.set(put_cut=True)
    with pytest.raises(Exception, match="(?i)connection|closed|broken"):
        s3.put_object(Bucket=aws.bucket, Key="c", Body=b"c" * 200_000)
    s3.put_object(Bucket=aws.bucket, Key="d", Body=b"d")
    assert {"a", "d"} <= keys(aws)
    assert not {"b", "c"} & keys(aws)


def test_the_network_goes_and_comes_back_at_the_same_address(aws):
    client = boto3.client("sagemaker", config=boto3.session.Config(retries={"total_max_attempts": 1}))
    aws.disconnect()
    with pytest.raises(EndpointConnectionError):
        client.list_training_jobs()
    aws.reconnect()
    assert client.list_training_jobs()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_an_empty_and_a_very_long_line_reach_the_log(aws):
    now_ms = time.time_ns() // 1_000_000
    log(aws, "lines").write([(now_ms, ""), (now_ms, "x" * 300_000)])
    texts = [line.text for line in read_all(aws, "lines")]
    assert "".join(texts) == "x" * 300_000
