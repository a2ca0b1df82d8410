"""The ``launch`` block of a configuration: where a run is shipped, on what, and what it may cost."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from launch.validation import validate

if TYPE_CHECKING:
    from omegaconf import DictConfig

DAY_S = 86_400


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
        validate(self)

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
                msg = f"launch.{key!s} does not exist. {did_you_mean(str(key), hints)}".strip()
                raise UserError(msg)
            plain[str(key)] = as_text(value) if key in ("tags", "environment", "image_version") else value
        check_types(OmegaConf.create({"launch": plain}), {f"launch.{key}": hint for key, hint in hints.items()})
        arguments: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        settings = cls(**arguments)
        if not settings.is_local and settings.instance_type is None:
            msg = "launch.instance_type must be given: choose launch=a10g, or add launch.instance_type=ml.g5.xlarge."
            raise UserError(msg)
        return settings


def as_text(value: Any) -> Any:
    """Take numbers and truth values for the texts that they were typed as; anything else stays."""
    if isinstance(value, dict):
        return {str(key): as_text(item) for key, item in value.items()}
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
