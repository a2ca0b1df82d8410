"""A stand-in for each file of tests: one that runs jobs, or one whose jobs a test moves on itself."""

import os
import sys
from contextlib import contextmanager

import pytest
from helpers import Answer
from launch_jobs import TOOLKIT

from launch.standin import StandIn


@pytest.fixture(scope="module")
def running():
    """Runs jobs with the real toolkit."""
    with StandIn(toolkit=TOOLKIT) as standin:
        yield standin


@pytest.fixture(scope="module")
def driven():
    """Keeps jobs as they are."""
    with StandIn(max_jobs=0) as standin:
        yield standin


@contextmanager
def pointed_at(standin, monkeypatch, tmp_path):
    """Have the environment point at a stand-in, and commands start in an empty folder; without faults afterwards."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        monkeypatch.delenv(name)
    for name, value in standin.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    yield standin
    standin.faults.clear()
    standin.reconnect()


@pytest.fixture
def aws(request, monkeypatch, tmp_path):
    """The stand-in of this file, at which the environment points, without faults; runs start in an empty folder."""
    with pointed_at(
        request.getfixturevalue(getattr(request.module, "STANDIN", "driven")), monkeypatch, tmp_path
    ) as standin:
        yield standin


@pytest.fixture(scope="module")
def connection(request):
    """The account, as our commands connect to it, once for a file."""
    import boto3

    from launch.aws.session import Aws

    standin = request.getfixturevalue(getattr(request.module, "STANDIN", "driven"))
    given = standin.environment
    session = boto3.Session(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name=standin.region)
    return Aws(session, standin.region, standin.url)


@pytest.fixture
def service(aws, connection):
    """Training jobs."""
    from launch.aws.training_jobs import TrainingJobs

    return TrainingJobs(connection)


@pytest.fixture
def store(aws, connection):
    """The bucket."""
    from launch.aws.storage import S3Store

    return S3Store(connection, aws.bucket)


@pytest.fixture
def jobs(aws, capfd, monkeypatch):
    """Run ``python -m launch.jobs`` in this process."""
    from launch import jobs as command

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["launch.jobs", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            command.main()
        return Answer(int(exit_info.value.code or 0), *capfd.readouterr())

    return run
