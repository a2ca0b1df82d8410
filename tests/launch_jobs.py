"""Small jobs for the stand-in: requests, source archives, logs; nothing of dogbreed runs in them."""

import io
import json
import os
import tarfile
import time
from pathlib import Path

TOOLKIT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dogbreed-tests" / "toolkit"
METRIC = {"Name": "val/acc_top1", "Regex": r"(?:^|\s)val/acc_top1=([-+0-9.eE]+|nan|inf)"}


def archive(files: dict[str, str | bytes]) -> bytes:
    """A tar.gz in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def request(aws, name: str, **more) -> dict:
    """CreateTrainingJob's, as launch.request shapes it."""
    root = f"s3://{aws.bucket}/dogbreed/jobs/{name}"
    code = f"s3://{aws.bucket}/code/{name}/sourcedir.tar.gz"
    values = {
        "sagemaker_program": "sm_entry.py",
        "sagemaker_submit_directory": code,
        "sagemaker_container_log_level": 20,
        "sagemaker_region": aws.region,
        "sagemaker_job_name": name,
        "dogbreed_revision": "abc",
        "dogbreed_config_hash": "def",
    }
    return {
        "TrainingJobName": name,
        "RoleArn": aws.role,
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [METRIC],
        },
        "HyperParameters": {key: json.dumps(value) for key, value in values.items()},
        "OutputDataConfig": {"S3OutputPath": f"{root}/output/"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CheckpointConfig": {"S3Uri": f"{root}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
        "Tags": [{"Key": "dogbreed", "Value": "1"}],
        **more,
    }


def ship(aws, name: str, script: str, **more) -> None:
    """Start a job that runs a script."""
    data = archive({"sm_entry.py": script})
    aws.worker.client("s3").put_object(Bucket=aws.bucket, Key=f"code/{name}/sourcedir.tar.gz", Body=data)
    aws.worker.client("sagemaker").create_training_job(**request(aws, name, **more))


def wait_for(aws, name: str, timeout_s: float = 120.0):
    """Wait for a job's end and return it."""
    job = aws.job(name)
    wait_until(lambda: job.is_over, timeout_s)
    return job


def wait_until(condition, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def log(aws, name: str, host: str = "algo-1"):
    """A log stream to write to, as the worker's."""
    from launch.standin.cloudlog import Stream

    return Stream(aws.worker.client("logs"), name, host)


def keys(aws, prefix: str = "") -> set[str]:
    """What lies in the bucket."""
    pages = aws.worker.client("s3").get_paginator("list_objects_v2").paginate(Bucket=aws.bucket, Prefix=prefix)
    return {item["Key"] for page in pages for item in page.get("Contents", ())}
