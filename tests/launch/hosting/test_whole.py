"""The whole way with the real server: the same answers from the endpoint and from predict."""

import json

import boto3
import pytest
from helpers import save_picture
from launch_jobs import keys

from launch.aws.session import Aws
from launch.standin import StandIn


@pytest.fixture(scope="module")
def hosting():
    """Starts the real server from the code inside the archive."""
    with StandIn(max_jobs=0) as standin:
        yield standin


@pytest.fixture(scope="module")
def connection(hosting):
    """The account of this stand-in."""
    session = boto3.Session("key", "secret", region_name=hosting.region)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", hosting.url)
        account = Aws(session, hosting.region, hosting.url)
        for name in ("s3", "sts", "iam", "logs", "sagemaker", "sagemaker-runtime", "application-autoscaling"):
            account.client(name)
        for name in ("sagemaker", "logs"):
            account.client(name, is_patient=False)
    return account


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_endpoint_answers_as_predict_does(aws, cli, deploy, endpoints, finished_run, tmp_path):
    made = deploy(name="real", folder=finished_run.run_dir)
    assert made.code == 0, made.err
    pictures = tmp_path / "pictures"
    for number in range(8):
        save_picture(pictures / f"{number}.png", (30 * number, 200 - 20 * number, 90), number, size=(70 + number, 40))
    expected = json.loads(cli("predict", finished_run.run_dir, pictures, "--json", "--top-k", "3").out)
    found = json.loads(endpoints("invoke", "real", pictures, "--json", "--top-k", "3").out)
    assert [answer["file"] for answer in found] == [answer["file"] for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["label"] == other["label"]
        for left, right in zip(one["top"], other["top"], strict=True):
            assert left["label"] == right["label"]
            assert left["probability"] == pytest.approx(right["probability"], abs=1e-5)

    config = aws._backend.endpoints["real"].config.name
    updated = deploy("instance_count=2", name="real", folder=finished_run.run_dir)
    assert updated.code == 0, updated.err
    assert aws._backend.endpoints["real"].config.name != config

    s3 = aws.worker.client("s3")
    for file in pictures.iterdir():
        s3.put_object(Bucket=aws.bucket, Key=f"in/{file.name}", Body=file.read_bytes())
    places = [f"input=s3://{aws.bucket}/in/", f"output=s3://{aws.bucket}/out/"]
    done = cli("launch.transform", f"model={finished_run.run_dir}", *places, "launch.poll_s=0.2")
    assert done.code == 0, done.err
    for answer in expected:
        name = answer["file"].rpartition("/")[2]
        body = json.loads(s3.get_object(Bucket=aws.bucket, Key=f"out/{name}.out")["Body"].read())
        assert body["top"][0]["probability"] == pytest.approx(answer["probability"], abs=1e-5)
    assert len(keys(aws, "out/")) == 8
    assert endpoints("delete", "real").code == 0
