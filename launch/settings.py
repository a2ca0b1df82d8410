"""The ``launch`` block of a configuration: where a run is shipped, on what, and what it may cost."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

DAY_S = 86_400
# Limits of CreateTrainingJob: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
MAX_RUN_S = 28 * DAY_S
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


@dataclass(frozen=True)
class LaunchSettings:
    """All that ``conf/launch/`` says of a job.

    Args:
        target: ``sagemaker``, or ``local``: the same bundle through the real training toolkit in a process here.
        instance_type: ``ml.g5.xlarge``; None with ``target=local``.
        instance_count: Machines that train together, >= 1.
        volume_gb: Disk of each, in GB (10^9 bytes), >= 1; what comes with its own disk ignores it.
        max_run_s: The job is stopped after so many seconds of training; what it costs at most goes by it.
        spot: Use what others leave over, which is cheaper and may be taken away; the job then goes on by itself.
        max_wait_s: With spot, the most seconds from asking to done, waiting included; None for twice ``max_run_s``.
        max_retries: Starts anew after AWS's own failures, 0..30.
        keep_alive_s: The machine waits so long for the next job (a warm pool, paid for), 0..21600; not with spot.
        region: AWS region; None for the one of the AWS configuration.
        role: ARN or name of the role that the job takes on; None for ``SAGEMAKER_ROLE``, or the one we run under.
        bucket: S3 bucket; None for SageMaker's own, ``sagemaker-REGION-ACCOUNT``.
        prefix: Everything of ours lies below it in the bucket.
        image: ``auto``, Amazon's PyTorch container of ``image_version``; or the address of one.
        image_version: PyTorch version of the container, at least 2.13.
        input_mode: ``File``: the data are copied to the machine first; ``FastFile``: read from S3 as they are needed.
        subnets: Of a VPC, together with ``security_groups``.
        security_groups: Of a VPC.
        kms_key: Encrypts what the job writes to S3; None for the bucket's own.
        volume_kms_key: Encrypts the disks.
        encrypt_traffic: Between several machines.
        network_isolation: The job reaches no network: weights and libraries travel as channels.
        tags: More tags of the job.
        environment: More environment variables of the job.
        code: Files and folders that travel beside the package: callbacks and rules of your own.
        requirements: More libraries, as in a requirements.txt.
        checkpoints: Keep checkpoints in S3 while the job runs, so that it can go on after an interruption.
        tensorboard: Copy TensorBoard's files to S3 while the job runs.
        debugger: ``none``, or the node of ``conf/launch/debugger``.
        name: Beginning of the job's name; None for model and data.
        wait: Follow the job until its end; otherwise ``python -m launch.jobs`` does, at any time.
        dry_run: Print what would be sent and what it could cost, and send nothing.
        max_cost_usd: Refuse what could cost more, in US dollars; None for no limit.
        prices: File of prices instead of AWS's list: YAML or JSON, ``{region: {instance: USD an hour}}``.
        poll_s: Seconds between two looks at a job, > 0.
        max_concurrent: Of a sweep, jobs at a time, >= 1.
        timeout_s: Of a sweep, a job that has no result after so many seconds is stopped and counts as failed.

    Raises:
        UserError: a value is out of range or does not go with another.
    """

    target: str = "sagemaker"
    instance_type: str | None = None
    instance_count: int = 1
    volume_gb: int = 50
    max_run_s: int = DAY_S
    spot: bool = False
    max_wait_s: int | None = None
    max_retries: int = 1
    keep_alive_s: int = 0
    region: str | None = None
    role: str | None = None
    bucket: str | None = None
    prefix: str = "dogbreed"
    image: str = "auto"
    image_version: str = "2.13"
    input_mode: str = "File"
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    kms_key: str | None = None
    volume_kms_key: str | None = None
    encrypt_traffic: bool = False
    network_isolation: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    checkpoints: bool = True
    tensorboard: bool = False
    debugger: Mapping[str, Any] | None = None
    name: str | None = None
    wait: bool = True
    dry_run: bool = False
    max_cost_usd: float | None = None
    prices: str | None = None
    poll_s: float = 5.0
    max_concurrent: int = 4
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Check every value by itself, then with the others."""
        _check_choices(self)
        _check_patterns(self)
        _check_ranges(self)
        _check_names(self)
        _check_together(self)

    @property
    def wait_s(self) -> int | None:
        """The most seconds from asking to done; None without spot, where nobody waits."""
        if not self.spot:
            return None
        return 2 * self.max_run_s if self.max_wait_s is None else self.max_wait_s

    @property
    def is_local(self) -> bool:
        """Say whether the job runs on this machine."""
        return self.target == "local"

    @classmethod
    def of(cls, cfg: DictConfig) -> LaunchSettings:
        """Read the ``launch`` block of a composed configuration.

        Raises:
            UserError: there is none, a key is unknown, a value of the wrong kind, or as the constructor.
        """
        from omegaconf import OmegaConf

        from dogbreed.config import check_types

        if cfg.get("launch") is None:
            msg = "launch is not set: choose a machine, for instance launch=a10g, or launch=local to try it here."
            raise UserError(msg)
        values = OmegaConf.to_container(cfg.launch, resolve=True)
        if not isinstance(values, dict):
            msg = f"launch={values} is no choice of a machine: use launch=a10g, or launch=local to try it here."
            raise UserError(msg)
        hints = typing.get_type_hints(cls)
        plain: dict[str, Any] = {}
        for key, value in values.items():
            if key not in hints:
                msg = f"launch.{key} does not exist. {did_you_mean(str(key), hints)}".strip()
                raise UserError(msg)
            plain[str(key)] = _as_text(value) if key in ("tags", "environment", "image_version") else value
        check_types(OmegaConf.create({"launch": plain}), {f"launch.{key}": hint for key, hint in hints.items()})
        arguments: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return cls(**arguments)


def _as_text(value: Any) -> Any:
    """Take numbers and truth values for the texts that they were typed as; anything else stays."""
    if isinstance(value, dict):
        return {str(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


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
            words = f"at least {least:g}" if most is None else f"between {least:g} and {most:g}"
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
    if not settings.is_local and settings.instance_type is None:
        msg = "launch.instance_type must be given: choose launch=a10g, or add launch.instance_type=ml.g5.xlarge."
        raise UserError(msg)
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
