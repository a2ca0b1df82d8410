"""The CreateTrainingJob request of a run: plain values in, the API's dictionary out.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launch.validation import TAG

if TYPE_CHECKING:
    from launch.channels import Channel
    from launch.debugger import DebuggerRequest
    from launch.names import JobPlaces
    from launch.settings import LaunchSettings

# Where a container has its places: https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage.html
CHANNELS = "/opt/ml/input/data"
CHECKPOINTS_DIR = "/opt/ml/checkpoints"
TENSORBOARD_DIR = "/opt/ml/output/data/run/tensorboard"
ENTRY = "sm_entry.py"

# What the lines [metrics] and [result] of a run's log name, and so what AWS draws curves of.
METRICS = (
    *(f"{split}/{name}" for split in ("train", "val", "test") for name in ("acc_top1", "acc_top5", "f1_macro", "loss")),
    "val/ece",
    "test/ece",
    "epoch",
    "seconds",
    "images_per_second",
    "data_wait_share",
    "peak_memory_gb",
)


def metric_definitions(names: Sequence[str] = METRICS) -> list[dict[str, str]]:
    """Return how AWS finds metrics in the log's lines.

    Args:
        names: As they stand before ``=``.
    """
    return [{"Name": name, "Regex": rf"(?:^|\s){re.escape(name)}=([-+0-9.eE]+|nan|inf)"} for name in names]


def container_hyperparameters(
    *, code: str, region: str, job_name: str, is_distributed: bool, revision: str, config_hash: str
) -> dict[str, str]:
    """Return what the training toolkit in the container goes by, and what a job's page should tell of us.

    Args:
        code: Address of sourcedir.tar.gz.
        region: Of the job.
        job_name: Its name.
        is_distributed: The toolkit starts torchrun, a process for each GPU of each machine.
        revision: Of the source.
        config_hash: Of the composed configuration (`dogbreed.config.hashing`).
    """
    values: dict[str, Any] = {
        "sagemaker_program": ENTRY,
        "sagemaker_submit_directory": code,
        "sagemaker_container_log_level": 20,
        "sagemaker_region": region,
        "sagemaker_job_name": job_name,
        "dogbreed_revision": revision,
        "dogbreed_config_hash": config_hash,
    }
    if is_distributed:
        values["sagemaker_torch_distributed_enabled"] = True
    return {name: json.dumps(value) for name, value in values.items()}


def _isolation(channels: Sequence[tuple[Channel, str]]) -> dict[str, str]:
    """Return the variables by which pip takes libraries from their channel instead of a registry, if they have one."""
    if all(channel.name != "wheels" for channel, _ in channels):
        return {}
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{CHANNELS}/wheels"}


def training_job(
    settings: LaunchSettings,
    *,
    name: str,
    role_arn: str,
    image: str,
    places: JobPlaces,
    channels: Sequence[tuple[Channel, str]],
    hyperparameters: Mapping[str, str],
    debugger: DebuggerRequest,
    version: str,
) -> dict[str, Any]:
    """Put a CreateTrainingJob request together.

    Args:
        settings: The ``launch`` block.
        name: Of the job.
        role_arn: What it may do.
        image: Address of its container.
        places: Where its files go.
        channels: What travels, each with its address in S3.
        hyperparameters: The toolkit's and the run's overrides.
        debugger: Parts of Amazon's Debugger.
        version: Of this package, for the tag by which our jobs are found.

    Returns:
        The request by the API's names, without keys that say nothing.
    """
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": role_arn,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": settings.input_mode,
            "MetricDefinitions": metric_definitions(),
        },
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": [_channel(channel, address) for channel, address in channels],
        "OutputDataConfig": filled({"S3OutputPath": places.output, "KmsKeyId": settings.kms_key}),
        "ResourceConfig": _resources(settings),
        "StoppingCondition": filled(
            {"MaxRuntimeInSeconds": settings.max_run_s, "MaxWaitTimeInSeconds": settings.wait_s}
        ),
        "VpcConfig": {"Subnets": list(settings.subnets), "SecurityGroupIds": list(settings.security_groups)}
        if settings.subnets
        else {},
        "EnableNetworkIsolation": settings.network_isolation,
        "EnableInterContainerTrafficEncryption": settings.encrypt_traffic,
        "EnableManagedSpotTraining": settings.spot,
        "CheckpointConfig": {"S3Uri": places.checkpoints, "LocalPath": CHECKPOINTS_DIR} if settings.checkpoints else {},
        "RetryStrategy": {"MaximumRetryAttempts": settings.max_retries} if settings.max_retries else {},
        "TensorBoardOutputConfig": {"S3OutputPath": places.tensorboard, "LocalPath": TENSORBOARD_DIR}
        if settings.tensorboard
        else {},
        "Environment": {**debugger.environment, **_isolation(channels), **settings.environment},
        "Tags": [{"Key": key, "Value": value} for key, value in {TAG: version, **settings.tags}.items()],
        **debugger.fields,
    }
    return filled(request)


def _resources(settings: LaunchSettings) -> dict[str, Any]:
    return filled(
        {
            "InstanceType": settings.instance_type,
            "InstanceCount": settings.instance_count,
            "VolumeSizeInGB": settings.volume_gb,
            "VolumeKmsKeyId": settings.volume_kms_key,
            "KeepAlivePeriodInSeconds": settings.keep_alive_s or None,
        }
    )


def _channel(channel: Channel, address: str) -> dict[str, Any]:
    return {
        "ChannelName": channel.name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": address,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": channel.input_mode,
    }


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing: the API refuses empty lists and mappings in some places."""
    return {key: value for key, value in values.items() if value not in (None, [], {})}
