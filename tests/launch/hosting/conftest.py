"""A stand-in whose endpoints answer, and commands that are run against it."""

import sys

import boto3
import pytest
from helpers import Answer
from hosting_models import small_container, write_model
from launch_standin import pointed_at

from launch.aws.session import Aws
from launch.standin import StandIn

PRICES = "us-east-1: {ml.c6i.xlarge: 0.2, ml.g5.xlarge: 1.4, serverless: 0.00002}\n"


# A file each: neighbours' tests reset moto, which all stand-ins of a process share.
@pytest.fixture(scope="module")
def hosting():
    """Starts real containers, small ones."""
    with StandIn(max_jobs=0, container=small_container) as standin:
        yield standin


@pytest.fixture(scope="module")
def connection(hosting):
    """The account, as our commands connect to it, once: making clients takes longer than using them."""
    return connect(hosting)


def connect(hosting):
    """Connect to a stand-in, every client made."""
    given = hosting.environment
    session = boto3.Session(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name=hosting.region)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", hosting.url)
        account = Aws(session, hosting.region, hosting.url)
        for name in ("s3", "sts", "iam", "logs", "sagemaker", "sagemaker-runtime", "application-autoscaling"):
            account.client(name)
        account.client("cloudwatch")
        for name in ("sagemaker", "logs"):
            account.client(name, is_patient=False)
    return account


@pytest.fixture
def aws(hosting, connection, monkeypatch, tmp_path):
    """The stand-in, at which the environment points; without faults."""
    monkeypatch.setattr("launch.aws.session.connect", lambda settings: connection)
    (tmp_path / "prices.yaml").write_text(PRICES)
    hosting.requests.clear()
    with pointed_at(hosting, monkeypatch, tmp_path):
        yield hosting


@pytest.fixture
def model(tmp_path):
    """A model folder."""
    return write_model(tmp_path / "model")


@pytest.fixture
def sagemaker(aws):
    """SageMaker as boto3 has it."""
    return aws.worker.client("sagemaker")


@pytest.fixture
def deploy(aws, cli, model, tmp_path):
    """Run ``python -m launch.deploy`` on the model folder, quickly."""

    def run(*arguments, name="dogs", target="cpu", folder=model):
        words = [f"model={folder}", f"name={name}", f"target={target}", "launch.poll_s=0.05", *arguments]
        if not any(word.startswith("launch.prices") for word in arguments):
            words.append("launch.prices=prices.yaml")
        return cli("launch.deploy", *words)

    return run


@pytest.fixture
def endpoints(aws, capfd, monkeypatch):
    """Run ``python -m launch.endpoints``."""
    from launch import endpoints as command

    def run(action, *arguments):
        words = [action, *map(str, arguments), "--poll-s", "0.05"]
        monkeypatch.setattr(sys, "argv", ["launch.endpoints", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            command.main()
        return Answer(int(exit_info.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def there_is(sagemaker):
    """List what there is: names of endpoints, configurations and models that begin so."""

    def names(start):
        found = {
            "endpoints": sagemaker.list_endpoints(NameContains=start)["Endpoints"],
            "configurations": sagemaker.list_endpoint_configs(NameContains=start)["EndpointConfigs"],
            "models": sagemaker.list_models(NameContains=start)["Models"],
        }
        return {kind: len(rows) for kind, rows in found.items()}

    return names
