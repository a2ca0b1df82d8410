"""What is wrong with the settings of an endpoint or a transform job, in a sentence that names the key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from launch.hosting.names import check_endpoint_name
from launch.machines import find_machine
from launch.names import key_of

if TYPE_CHECKING:
    from launch.hosting.settings import DeploySettings, TransformSettings

KINDS = ("realtime", "async", "serverless")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
AMIS = (
    "al2023-ami-sagemaker-inference-gpu-4-1",
    "al2-ami-sagemaker-inference-gpu-3-1",
    "al2-ami-sagemaker-inference-gpu-2-1",
    "al2-ami-sagemaker-inference-gpu-2",
)
TRANSFORM_AMIS = ("al2-ami-sagemaker-batch-gpu-535", "al2-ami-sagemaker-batch-gpu-470")
MEMORIES_MB = tuple(range(1024, 6145, 1024))
MAX_SERVERLESS = 200
# Of a transform job: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
MAX_PAYLOAD_MB = 100
ACCEPTS = ("application/json", "text/csv")

_ONLY_FOR = {
    "memory_mb": "serverless",
    "max_concurrency": "serverless",
    "provisioned_concurrency": "serverless",
    "max_concurrent": "async",
    "output": "async",
}


def validate_deploy(settings: DeploySettings) -> None:
    """Check an endpoint's settings; their types are right already.

    Raises:
        UserError: a value is out of range or does not go with another.
    """
    check_endpoint_name(settings.name)
    _among("presets.TARGET.kind", settings.kind, KINDS)
    _check_image(settings.image, settings.image_version, settings.ami, AMIS)
    _at_least("instance_count", settings.instance_count, 1)
    _between("health_check_timeout_s", settings.health_check_timeout_s, 60, 3600)
    _between("capture.percent", settings.capture.percent, 0, 100)
    for key in ("output", "capture.output"):
        address = settings.output if key == "output" else settings.capture.output
        if address is not None:
            _check_address(key, address)
    for key, kind in _ONLY_FOR.items():
        if getattr(settings, key) is not None and settings.kind != kind:
            msg = f"{key} is for target={kind}: leave it out, or choose that target."
            raise UserError(msg)
    if settings.is_serverless:
        _check_serverless(settings)
        return
    if settings.instance_type is None:
        msg = f"instance_type must be given with target={settings.target}: for instance instance_type=ml.c6i.xlarge."
        raise UserError(msg)
    find_machine(settings.instance_type, "instance_type")
    if settings.max_concurrent is not None:
        _between("max_concurrent", settings.max_concurrent, 1, 1000)
    _check_autoscale(settings)


def validate_transform(settings: TransformSettings) -> None:
    """Check a transform job's settings; their types are right already.

    Raises:
        UserError: a value is out of range or does not go with another.
    """
    _check_image(settings.image, settings.image_version, settings.ami, TRANSFORM_AMIS)
    find_machine(settings.instance_type, "instance_type")
    _at_least("instance_count", settings.instance_count, 1)
    _at_least("max_concurrent", settings.max_concurrent, 1)
    _between("max_payload_mb", settings.max_payload_mb, 1, MAX_PAYLOAD_MB)
    _among("accept", settings.accept, ACCEPTS)
    if settings.max_concurrent * settings.max_payload_mb > MAX_PAYLOAD_MB:
        msg = (
            f"max_concurrent={settings.max_concurrent} times max_payload_mb={settings.max_payload_mb} must be at most "
            f"{MAX_PAYLOAD_MB}, as SageMaker has it: lower one of them."
        )
        raise UserError(msg)
    for key in ("input", "output"):
        _check_address(key, getattr(settings, key))
    if settings.name is not None and not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", settings.name):
        msg = f"name={settings.name} must be letters, digits and single hyphens in between."
        raise UserError(msg)


def _check_serverless(settings: DeploySettings) -> None:
    """Refuse what serverless endpoints have not.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """
    has_not = {
        "instance_type": settings.instance_type is not None,
        "instance_count": settings.instance_count != 1,
        "autoscale": settings.autoscale.max is not None,
        "capture": settings.capture.percent > 0,
        "launch.subnets": bool(settings.launch.subnets),
    }
    refused = next((key for key, is_given in has_not.items() if is_given), None)
    if refused == "instance_type":
        msg = "instance_type is not for target=serverless, which has no machines and no GPU: use target=cpu or gpu."
        raise UserError(msg)
    if refused:
        msg = f"{refused} is not for target=serverless: leave it out, or use target=cpu."
        raise UserError(msg)
    if settings.memory_mb not in MEMORIES_MB:
        msg = f"memory_mb={settings.memory_mb} must be one of {', '.join(map(str, MEMORIES_MB))}."
        raise UserError(msg)
    _between("max_concurrency", settings.max_concurrency or 0, 1, MAX_SERVERLESS)
    if settings.provisioned_concurrency is not None:
        _between("provisioned_concurrency", settings.provisioned_concurrency, 1, settings.max_concurrency or 1)


def _check_autoscale(settings: DeploySettings) -> None:
    scale = settings.autoscale
    what = "waiting requests for each machine" if settings.kind == "async" else "requests a minute for each machine"
    if scale.max is None:
        if scale.target is not None or scale.min != 1:
            msg = "autoscale.max must be given with autoscale.min and autoscale.target: the most machines."
            raise UserError(msg)
        return
    _at_least("autoscale.min", scale.min, 0 if settings.kind == "async" else 1)
    _at_least("autoscale.max", scale.max, max(1, scale.min))
    if scale.target is None or not 0 < scale.target < float("inf"):
        msg = f"autoscale.target must be a number above 0: {what}."
        raise UserError(msg)
    if settings.instance_count > scale.max or settings.instance_count < scale.min:
        msg = (
            f"instance_count={settings.instance_count} must lie between autoscale.min={scale.min} and .max={scale.max}."
        )
        raise UserError(msg)


def _check_image(image: str, version: str, ami: str, amis: tuple[str, ...]) -> None:
    if not re.fullmatch(r"[\w.:/@-]{1,255}", image, flags=re.ASCII):
        msg = f"image={image} must be auto, or an image's address."
        raise UserError(msg)
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        msg = f"image_version={version} must be a version such as 1.4 (one that ends with 0 needs quotes: '\"1.10\"')."
        raise UserError(msg)
    if ami != "auto" and ami not in amis:
        msg = f"ami={ami} does not exist. {did_you_mean(ami, amis)}"
        raise UserError(msg)


def _check_address(key: str, address: str) -> None:
    try:
        key_of(address)
    except UserError as error:
        msg = f"{key}: {error}"
        raise UserError(msg) from error


def _among(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        msg = f"{key}={value} does not exist. Valid: {', '.join(valid)}."
        raise UserError(msg)


def _at_least(key: str, value: Any, least: int) -> None:
    if value < least:
        msg = f"{key}={value} must be at least {least}."
        raise UserError(msg)


def _between(key: str, value: Any, least: int, most: int) -> None:
    if not least <= value <= most:
        msg = f"{key}={value} must be between {least} and {most}."
        raise UserError(msg)
