"""What is wrong with the ``launch`` block of a configuration, in a sentence that names the key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from launch.settings import LaunchSettings

# Limits of CreateTrainingJob: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
MAX_RUN_S = 28 * 86_400
MAX_KEEP_ALIVE_S = 21_600
MAX_VOLUME_GB = 16_384
MAX_RETRIES = 30
MAX_TAGS, MAX_VARIABLES, MAX_VARIABLE_CHARS = 50, 100, 512
# Amazon's containers have an entry for smaller ones only under another name and contract.
FIRST_IMAGE_VERSION = (2, 13)
TARGETS, INPUT_MODES = ("sagemaker", "local"), ("File", "FastFile")
# The key of the tag by which our jobs are found.
TAG = "dogbreed"

# What a key's text must look like, and in words.
_PATTERNS = {
    "region": (r"[a-z]{2}(-[a-z]+)+-\d+", "a region such as eu-central-1"),
    "role": (
        r"(arn:aws[a-z-]*:iam::\d{12}:role/)?[\w+=,.@/-]{1,512}",
        "a role's name or its ARN",
    ),
    "bucket": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, without s3://"),
    "prefix": (r"[\w!.*'()-]+(/[\w!.*'()-]+)*", "a prefix such as team/dogbreed, without a slash at either end"),
    "image": (r"[\w.:/@-]{1,255}", "auto, or an image's address"),
    "image_version": (r"\d+\.\d+(\.\d+)?", "a PyTorch version such as 2.13"),
    "kms_key": (r"[a-zA-Z0-9:/_-]{1,2048}", "a KMS key's id, alias or ARN"),
    "volume_kms_key": (r"[a-zA-Z0-9:/_-]{1,2048}", "a KMS key's id, alias or ARN"),
    "name": (r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", "letters, digits and single hyphens in between"),
}
_VPC_ID = re.compile(r"[-0-9a-zA-Z]{1,32}")
# Lowest and highest value; None is none.
_RANGES: dict[str, tuple[float, float | None]] = {
    "instance_count": (1, None),
    "volume_gb": (1, MAX_VOLUME_GB),
    "max_run_s": (1, MAX_RUN_S),
    "max_wait_s": (1, None),
    "max_retries": (0, MAX_RETRIES),
    "keep_alive_s": (0, MAX_KEEP_ALIVE_S),
    "max_cost_usd": (0, None),
    "poll_s": (0.01, None),
    "max_concurrent": (1, None),
    "timeout_s": (1, None),
}


def validate(settings: LaunchSettings) -> None:
    """Check every value by itself, then with the others; their types are right already.

    Raises:
        UserError: a value is out of range or does not go with another.
    """
    _check_choices(settings)
    _check_patterns(settings)
    _check_ranges(settings)
    _check_names(settings)
    _check_together(settings)


def _check_choices(settings: LaunchSettings) -> None:
    for key, valid in (("target", TARGETS), ("input_mode", INPUT_MODES)):
        value = getattr(settings, key)
        if value not in valid:
            msg = f"launch.{key}={value} does not exist. Valid: {', '.join(valid)}."
            raise UserError(msg)


def _check_patterns(settings: LaunchSettings) -> None:
    for key, (pattern, words) in _PATTERNS.items():
        value = getattr(settings, key)
        if value is not None and not re.fullmatch(pattern, value, flags=re.ASCII):
            msg = f"launch.{key}={value} must be {words}."
            raise UserError(msg)
    version = tuple(int(part) for part in settings.image_version.split("."))
    if version[:2] < FIRST_IMAGE_VERSION:
        first = ".".join(map(str, FIRST_IMAGE_VERSION))
        msg = (
            f"launch.image_version={settings.image_version} must be at least {first}: older containers are named by "
            f"their address, launch.image=ADDRESS. (A version that ends with 0 needs quotes: '\"2.20\"'.)"
        )
        raise UserError(msg)
    for key, most, example in (
        ("subnets", 16, "subnet-0123456789abcdef0"),
        ("security_groups", 5, "sg-0123456789abcdef0"),
    ):
        values = getattr(settings, key)
        if len(values) > most:
            msg = f"launch.{key} names {len(values)}, and a job takes at most {most}."
            raise UserError(msg)
        for value in values:
            if not _VPC_ID.fullmatch(value):
                msg = f"launch.{key} holds {value}, which is no id such as {example}."
                raise UserError(msg)


def _check_ranges(settings: LaunchSettings) -> None:
    for key, (least, most) in _RANGES.items():
        value = getattr(settings, key)
        if value is not None and not (least <= value <= (float("inf") if most is None else most)):
            words = f"at least {least:g}" if most is None else f"between {least} and {most}"
            msg = f"launch.{key}={value} must be {words}."
            raise UserError(msg)


def _check_names(settings: LaunchSettings) -> None:
    """Check the user's tags and environment variables."""
    if len(settings.tags) > MAX_TAGS - 1:
        msg = f"launch.tags has {len(settings.tags)}, and beside our own a job takes at most {MAX_TAGS - 1}."
        raise UserError(msg)
    for key, value in settings.tags.items():
        if key == TAG or key.lower().startswith("aws:"):
            msg = f"launch.tags.{key} is taken: our jobs are found by {TAG}, and aws: is Amazon's; choose another name."
            raise UserError(msg)
        if not isinstance(value, str) or not (1 <= len(key) <= 128 and len(value) <= 256):
            msg = f"launch.tags.{key}={value} must be a text of at most 256 characters, its key one of at most 128."
            raise UserError(msg)
    if len(settings.environment) > MAX_VARIABLES:
        msg = f"launch.environment has {len(settings.environment)} variables, and a job takes at most {MAX_VARIABLES}."
        raise UserError(msg)
    for key, value in settings.environment.items():
        if not re.fullmatch(r"[a-zA-Z_]\w*", key, flags=re.ASCII) or len(key) > MAX_VARIABLE_CHARS:
            msg = f"launch.environment.{key}: a variable's name is letters, digits and _, and begins with no digit."
            raise UserError(msg)
        if not isinstance(value, str) or len(value) > MAX_VARIABLE_CHARS:
            msg = f"launch.environment.{key} must be a text of at most {MAX_VARIABLE_CHARS} characters."
            raise UserError(msg)


def _check_together(settings: LaunchSettings) -> None:
    """Refuse values that contradict each other."""
    if settings.is_local and settings.instance_count > 1:
        msg = f"launch.instance_count={settings.instance_count}: launch.target=local is this machine, which is one."
        raise UserError(msg)
    if settings.spot and not settings.checkpoints:
        msg = (
            "launch.spot=true needs launch.checkpoints=true: a machine may be taken away at any time, and without "
            "checkpoints in S3 the job would begin anew and pay for every beginning."
        )
        raise UserError(msg)
    if settings.spot and settings.keep_alive_s:
        msg = f"launch.spot=true has no warm pool: leave launch.keep_alive_s={settings.keep_alive_s} out, or spot."
        raise UserError(msg)
    if settings.max_wait_s is not None and not settings.spot:
        msg = f"launch.max_wait_s={settings.max_wait_s} is for launch.spot=true; without it launch.max_run_s is enough."
        raise UserError(msg)
    if settings.max_wait_s is not None and settings.max_wait_s < settings.max_run_s:
        msg = (
            f"launch.max_wait_s={settings.max_wait_s} includes the time of training and must be at least "
            f"launch.max_run_s={settings.max_run_s}."
        )
        raise UserError(msg)
    if bool(settings.subnets) != bool(settings.security_groups):
        given, other = ("subnets", "security_groups") if settings.subnets else ("security_groups", "subnets")
        msg = f"launch.{given} is given without launch.{other}: a VPC needs both."
        raise UserError(msg)
