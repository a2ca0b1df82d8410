"""Requests of an endpoint and a transform job: plain values in, the API's dictionaries out.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html and its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launch.hosting.names import OWNER_TAG, VARIANT, EndpointPlaces, content_name
from launch.machines import MACHINES
from launch.request import filled
from launch.validation import TAG

if TYPE_CHECKING:
    from launch.hosting.settings import DeploySettings, TransformSettings
    from launch.settings import LaunchSettings

# The newest host systems; their drivers run what older ones do.
GPU_AMI, GPU_TRANSFORM_AMI = "al2023-ami-sagemaker-inference-gpu-4-1", "al2-ami-sagemaker-batch-gpu-535"


def tags_of(launch: LaunchSettings, owner: str, version: str) -> list[dict[str, str]]:
    """Return the tags of all that belongs to an endpoint.

    Args:
        launch: With the user's own.
        owner: The endpoint's name.
        version: Of this package.
    """
    tags = {TAG: version, OWNER_TAG: owner, **launch.tags}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def model_request(
    launch: LaunchSettings, owner: str, *, image: str, role_arn: str, archive: str, tags: list[dict[str, str]]
) -> dict[str, Any]:
    """Put a CreateModel request together.

    Args:
        launch: VPC and environment.
        owner: The endpoint's name, or what a transform job's begins with.
        image: Address of the container.
        role_arn: What it may do.
        archive: Address of model.tar.gz.
        tags: Of it.
    """
    request = filled(
        {
            "PrimaryContainer": filled(
                {"Image": image, "ModelDataUrl": archive, "Environment": dict(launch.environment)}
            ),
            "ExecutionRoleArn": role_arn,
            "VpcConfig": {"Subnets": list(launch.subnets), "SecurityGroupIds": list(launch.security_groups)}
            if launch.subnets
            else {},
            "Tags": tags,
        }
    )
    return {"ModelName": content_name(owner, request), **request}


def config_request(
    settings: DeploySettings, *, model_name: str, places: EndpointPlaces, tags: list[dict[str, str]]
) -> dict[str, Any]:
    """Put a CreateEndpointConfig request together.

    Args:
        settings: Of the endpoint.
        model_name: Of its model.
        places: Where its files go.
        tags: Of it.
    """
    variant = filled({"VariantName": VARIANT, "ModelName": model_name, **_machines(settings)})
    request = filled(
        {
            "ProductionVariants": [variant],
            "AsyncInferenceConfig": _asynchronous(settings, places) if settings.kind == "async" else {},
            "DataCaptureConfig": _capture(settings, places) if settings.capture.percent else {},
            "Tags": tags,
        }
    )
    return {"EndpointConfigName": content_name(settings.name, request), **request}


def endpoint_request(settings: DeploySettings, config_name: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    """Put a CreateEndpoint request together."""
    return {"EndpointName": settings.name, "EndpointConfigName": config_name, "Tags": tags}


def update_request(settings: DeploySettings, config_name: str, *, keeps_count: bool) -> dict[str, Any]:
    """Put an UpdateEndpoint request together: a new fleet, to which traffic goes when it is healthy.

    Args:
        settings: Of the endpoint.
        config_name: Of the new configuration.
        keeps_count: As many machines as autoscaling has just now, instead of those at the beginning.
    """
    request: dict[str, Any] = {"EndpointName": settings.name, "EndpointConfigName": config_name}
    if keeps_count:
        excluded = [{"VariantPropertyType": name} for name in ("DesiredWeight", "DataCaptureConfig")]
        request |= {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
    return request


def transform_request(
    settings: TransformSettings, name: str, model_name: str, tags: list[dict[str, str]]
) -> dict[str, Any]:
    """Put a CreateTransformJob request together.

    Args:
        settings: Of the job.
        name: Its name.
        model_name: Of its model.
        tags: Of it.
    """
    ami = GPU_TRANSFORM_AMI if settings.ami == "auto" else settings.ami
    has_gpu = has_gpus(settings.instance_type)
    return {
        "TransformJobName": name,
        "ModelName": model_name,
        "MaxConcurrentTransforms": settings.max_concurrent,
        "MaxPayloadInMB": settings.max_payload_mb,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 120, "InvocationsMaxRetries": 1},
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": settings.input}},
            # The server goes by the bytes, whatever they are called.
            "ContentType": "application/octet-stream",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": filled(
            {
                "S3OutputPath": settings.output,
                "Accept": settings.accept,
                "AssembleWith": "None",
                "KmsKeyId": settings.launch.kms_key,
            }
        ),
        "TransformResources": filled(
            {
                "InstanceType": settings.instance_type,
                "InstanceCount": settings.instance_count,
                "TransformAmiVersion": ami if has_gpu else None,
            }
        ),
        "Tags": tags,
    }


def has_gpus(instance_type: str | None) -> bool:
    """Say whether a machine has a GPU; one that is not in our table goes by its family's letter."""
    machine = MACHINES.get(instance_type or "")
    if machine:
        return machine.num_gpus > 0
    return (instance_type or "").startswith(("ml.g", "ml.p"))


def _machines(settings: DeploySettings) -> Mapping[str, Any]:
    if settings.is_serverless:
        serverless = {
            "MemorySizeInMB": settings.memory_mb,
            "MaxConcurrency": settings.max_concurrency,
            "ProvisionedConcurrency": settings.provisioned_concurrency,
        }
        return {"ServerlessConfig": filled(serverless)}
    ami = GPU_AMI if settings.ami == "auto" else settings.ami
    return {
        "InitialInstanceCount": settings.instance_count,
        "InstanceType": settings.instance_type,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": settings.health_check_timeout_s,
        "InferenceAmiVersion": ami if has_gpus(settings.instance_type) else None,
    }


def _asynchronous(settings: DeploySettings, places: EndpointPlaces) -> dict[str, Any]:
    output = {
        "S3OutputPath": settings.output or places.output,
        "S3FailurePath": places.failure,
        "KmsKeyId": settings.launch.kms_key,
    }
    client = {"MaxConcurrentInvocationsPerInstance": settings.max_concurrent}
    return filled({"OutputConfig": filled(output), "ClientConfig": filled(client)})


def _capture(settings: DeploySettings, places: EndpointPlaces) -> dict[str, Any]:
    return filled(
        {
            "EnableCapture": True,
            "InitialSamplingPercentage": settings.capture.percent,
            "DestinationS3Uri": settings.capture.output or places.capture,
            "KmsKeyId": settings.launch.kms_key,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            # What is neither is kept in base64.
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        }
    )
