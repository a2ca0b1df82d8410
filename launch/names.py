"""Names of jobs, and the addresses in S3 of everything that a job has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.settings import LaunchSettings

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html#API_CreateTrainingJob_RequestSyntax
MAX_JOB_NAME, MAX_TUNING_NAME = 63, 32
_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_TOKEN_CHARS = 4


@dataclass(frozen=True)
class JobPlaces:
    """Addresses of what one job reads and writes.

    Args:
        root: ``s3://BUCKET/PREFIX/jobs/NAME``.
    """

    root: str

    @property
    def checkpoints(self) -> str:
        """What the job can go on from."""
        return f"{self.root}/checkpoints/"

    @property
    def output(self) -> str:
        """S3OutputPath; Amazon puts ``NAME/output/model.tar.gz`` and ``output.tar.gz`` below it."""
        return f"{self.root}/output/"

    @property
    def tensorboard(self) -> str:
        """TensorBoard's files while the job runs."""
        return f"{self.root}/tensorboard/"

    @property
    def debug(self) -> str:
        """What the hook of Amazon's Debugger saves."""
        return f"{self.root}/debug/"

    @property
    def profiler(self) -> str:
        """What Amazon's profiler measures."""
        return f"{self.root}/profiler/"


@dataclass(frozen=True)
class Places:
    """Where everything of ours lies in a bucket.

    Args:
        bucket: Its name.
        prefix: Everything lies below it; without slashes at its ends.
    """

    bucket: str
    prefix: str

    @property
    def root(self) -> str:
        """``s3://BUCKET/PREFIX``."""
        return f"s3://{self.bucket}/{self.prefix}"

    def code(self, digest: str) -> str:
        """Return the address of a bundle of this SHA-256."""
        return f"{self.root}/code/{digest}/sourcedir.tar.gz"

    def data(self, digest: str) -> str:
        """Return the address of a folder whose listing has this SHA-256."""
        return f"{self.root}/data/{digest}/"

    def job(self, name: str) -> JobPlaces:
        """Return the addresses of one job."""
        return JobPlaces(f"{self.root}/jobs/{name}")


def key_of(address: str) -> tuple[str, str]:
    """Take an ``s3://`` address apart.

    Returns:
        Bucket and key.

    Raises:
        UserError: it is none.

    Example:
        >>> key_of("s3://bucket/a/b.tar.gz")
        ('bucket', 'a/b.tar.gz')
    """
    scheme, separator, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        msg = f"{address} is no place in S3: give s3://BUCKET/PREFIX."
        raise UserError(msg)
    return bucket, key


def base_name(settings: LaunchSettings, cfg: DictConfig, choices: Mapping[str, str | None]) -> str:
    """Return what a job's name begins with: ``launch.name``, or the model and the data.

    Args:
        settings: With the name, if there is one.
        cfg: The composed configuration.
        choices: Group to option, as Hydra knows them; empty will do.
    """
    if settings.name:
        return settings.name
    model = str(cfg.model.architecture).partition(".")[0]
    data = choices.get("data") or "data"
    return _clean(f"{model}-{data}")


def job_name(base: str, now: datetime, token: str) -> str:
    """Name a training job.

    Args:
        base: What it begins with; cut where the name would be too long.
        now: When it is started.
        token: Letters and digits that set it apart from others of the same second, at least 4.

    Returns:
        ``BASE-YYYYmmdd-HHMMSS-TOKEN``, at most 63 characters.

    Raises:
        UserError: the base has nothing that a name may have.

    Example:
        >>> job_name("resnet50-dogs", datetime(2026, 11, 22, 13, 5, 9), "9f3a77")
        'resnet50-dogs-20261122-130509-9f3a'
    """
    return _named(base, f"-{now:%Y%m%d-%H%M%S}-{token[:_TOKEN_CHARS]}", MAX_JOB_NAME)


def tuning_name(base: str, now: datetime, token: str) -> str:
    """Name a tuning job, for which 32 characters must do; the jobs of its trials are named by it.

    Example:
        >>> tuning_name("resnet50-dogs", datetime(2026, 11, 22, 13, 5, 9), "9f3a77")
        'resnet50-dogs-1122-130509-9f3a'
    """
    return _named(base, f"-{now:%m%d-%H%M%S}-{token[:_TOKEN_CHARS]}", MAX_TUNING_NAME)


def _named(base: str, end: str, most: int) -> str:
    start = _clean(base)[: most - len(end)].rstrip("-")
    name = f"{start}{end}"
    if not start or not _PATTERN.fullmatch(name):
        msg = f"{base!r} cannot begin a job's name, which is letters, digits and hyphens: give launch.name=NAME."
        raise UserError(msg)
    return name


def _clean(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")
