"""``launch.transform``: pictures in S3 to answers in S3."""

import json

import pytest
from launch_jobs import keys


@pytest.fixture
def pictures(aws, model):
    """Five pictures, one of them in a folder."""
    s3 = aws.worker.client("s3")
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "more/4.jpg"):
        s3.put_object(Bucket=aws.bucket, Key=f"in/{name}", Body=(model / "example.jpg").read_bytes())
    return s3


@pytest.fixture
def transform(aws, cli, model):
    def run(*arguments, start="in/", output="out"):
        places = [f"input=s3://{aws.bucket}/{start}", f"output=s3://{aws.bucket}/{output}/"]
        return cli(
            "launch.transform", f"model={model}", *places, "launch.poll_s=0.05", "launch.prices=prices.yaml", *arguments
        )

    return run


def test_every_picture_has_its_answer(aws, pictures, transform, sagemaker):
    done = transform()
    assert done.code == 0, done.err
    assert "answers  5 below" in done.out
    assert "5 pictures; 0.2 USD an hour while the job runs" in done.err
    names = {"0.jpg.out", "1.jpg.out", "2.jpg.out", "3.jpg.out", "more/4.jpg.out"}
    assert keys(aws, "out/") == {f"out/{name}" for name in names}
    answer = json.loads(pictures.get_object(Bucket=aws.bucket, Key="out/more/4.jpg.out")["Body"].read())
    assert (answer["label"], answer["told"]["Accept"]) == ("golden", "application/json")
    assert sagemaker.list_models(NameContains="transform")["Models"] == [], "its model goes with it"


@pytest.mark.slow
def test_one_that_cannot_be_read(aws, pictures, transform):
    pictures.put_object(Bucket=aws.bucket, Key="bad/bad.jpg", Body=b"no")
    failed = transform(start="bad/", output="none")
    assert failed.code == 2
    assert "bad.jpg: Bad HTTP status received from algorithm: 400" in failed.out
    assert "The picture cannot be decoded." in failed.out
    assert "One picture that cannot be read ends the whole job" in failed.err


def test_nothing_there(aws, transform):
    refused = transform(start="empty/")
    assert refused.code == 2
    assert "has nothing below it" in refused.err
    assert not aws.sent("CreateModel")


def test_no_machine_leaves_no_model(aws, pictures, transform, sagemaker):
    aws.faults.set(errors={"CreateTransformJob": ["ResourceLimitExceeded", "ml.c6i.xlarge for transform job usage"]})
    refused = transform()
    assert refused.code == 2
    assert "Nothing runs, and what was made for it is removed" in refused.err
    assert "instance_type=TYPE" in refused.err
    assert sagemaker.list_models(NameContains="transform")["Models"] == []


def test_dry_run(aws, transform):
    shown = transform("launch.dry_run=true")
    assert shown.code == 0
    assert "-- CreateTransformJob" in shown.out
    assert not aws.requests


def test_not_waiting_and_looking_after_it(aws, cli, pictures, transform, capfd, sagemaker):
    started = transform("launch.wait=false", "name=slow", "+launch.environment.ANSWER_S=0.2", "max_concurrent=1")
    assert started.code == 0, started.err
    name = started.out.split()[1]
    assert cli("launch.jobs", "stop", name, "--yes").code == 0
    followed = cli("launch.jobs", "logs", "-f", name, "--poll-s", "0.05")
    assert "was stopped before its end" in followed.err
    shown = cli("launch.jobs", "show", name)
    assert "1 × ml.c6i.xlarge" in shown.out
    assert f"s3://{aws.bucket}/out" in shown.out
    refused = cli("launch.jobs", "fetch", name)
    assert (refused.code, "is a transform job: its answers lie below" in refused.err) == (2, True)
