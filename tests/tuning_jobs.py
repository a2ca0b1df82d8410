"""Tuning jobs on a stand-in whose training jobs a test moves on itself."""

import json

from launch_jobs import archive, wait_until

SPACE = ("optim.lr=tag(log, interval(1e-4, 1e-1))", "data.batch_size=4,8")
ACTION = "CreateHyperParameterTuningJob"


def all_tuning_jobs(aws):
    from moto.sagemaker.models import sagemaker_backends

    return sagemaker_backends[aws.account][aws.region].hyper_parameter_tuning_jobs.values()


def child(tuning, number):
    wait_until(lambda: len(tuning.children) >= number)
    return tuning.children[number - 1]


def finish(tuning, number, value=None, status="Completed", reason=""):
    job = child(tuning, number)
    job.enter("Downloading")
    if value is not None:
        job.record_metric("val/acc_top1", value)
    job.end(status, reason)


def give(aws, tuning, number, **files):
    """Put what a job has written into S3."""
    job = child(tuning, number)
    root = job.request["OutputDataConfig"]["S3OutputPath"].removeprefix(f"s3://{aws.bucket}/").rstrip("/")
    folder = f"{root}/{job.training_job_name}/output"
    s3 = aws.worker.client("s3")
    state = {"state": "completed", "seconds": 1.0}
    contents = {"run/run.json": json.dumps(state), **{f"run/{name}": text for name, text in files.items()}}
    s3.put_object(Bucket=aws.bucket, Key=f"{folder}/output.tar.gz", Body=archive(contents))
    s3.put_object(Bucket=aws.bucket, Key=f"{folder}/model.tar.gz", Body=archive({"model.json": "{}"}))
