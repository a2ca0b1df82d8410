"""``model=``: a model folder, a run folder, a training job; and what is none."""

import io
import tarfile

import pytest
from hosting_models import write_model
from launch_jobs import request

from dogbreed.errors import UserError
from launch.hosting.source import find_model


def archive_of(folder):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return buffer.getvalue()


@pytest.fixture
def job(aws, sagemaker, tmp_path, monkeypatch):
    """A completed training job with its model in S3, of whose run folder this machine knows nothing."""
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    sagemaker.create_training_job(**request(aws, "trained"))
    aws.job("trained").end("Completed")
    key = "dogbreed/jobs/trained/output/trained/output/model.tar.gz"
    model = archive_of(write_model(tmp_path / "remote"))
    aws.worker.client("s3").put_object(Bucket=aws.bucket, Key=key, Body=model)
    yield "trained"
    del aws._backend.training_jobs["trained"]


def test_folders(aws, tmp_path):
    model = write_model(tmp_path / "run" / "model")
    assert find_model(str(model), None) == model
    assert find_model(str(tmp_path / "run"), None) == model
    with pytest.raises(UserError, match="is neither a run folder nor a model folder"):
        find_model(str(model.parent.parent / "empty"), None) if (tmp_path / "empty").mkdir() is None else None
    with pytest.raises(UserError, match="runs/none does not exist"):
        find_model("runs/none", None)


def test_a_job(aws, job, deploy):
    made = deploy(name="of-a-job", folder=job)
    assert made.code == 0, made.err
    assert "fetching model.tar.gz" in made.err
    assert "golden 75.0%" in made.out
    again = deploy(name="of-a-job", folder=job)
    assert "fetching" not in again.err
    assert "serves this model already" in again.err


def test_no_job(aws, job):
    with pytest.raises(UserError, match=r"model=train is neither a folder nor a training job: .* Did you mean trained"):
        find_model("train", None)


def test_a_job_without_a_model(aws, sagemaker):
    sagemaker.create_training_job(**request(aws, "running"))
    with pytest.raises(UserError, match=r"model=running: the job has left no model so far \(InProgress\)"):
        find_model("running", None)
