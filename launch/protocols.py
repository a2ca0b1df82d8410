"""The seams between what is ours and what is Amazon's: what the rooms of `launch` ask of the cloud.

`launch.aws` answers for the real one (and for the stand-in, which speaks the same HTTP).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class StoredObject:
    """An object in a store.

    Args:
        key: Its whole key.
        num_bytes: Its size.
        modified: When it was written; None where the store does not say.
    """

    key: str
    num_bytes: int
    modified: datetime | None = field(default=None, compare=False)


class ObjectStore(Protocol):
    """One bucket. Every method raises `dogbreed.errors.UserError` for what the user can mend."""

    bucket: str

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this key."""

    def put_file(self, path: Path, key: str) -> None:
        """Write a file, in parts where it is large."""

    def put_bytes(self, data: bytes, key: str) -> None:
        """Write a small object."""

    def copy(self, source_key: str, key: str) -> None:
        """Copy within the bucket, without the bytes coming here."""

    def get_bytes(self, key: str) -> bytes:
        """Read a small object."""

    def get_file(self, key: str, path: Path) -> None:
        """Read into a file: temporary name, then renamed."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List all objects below a prefix, a page at a time."""


@dataclass(frozen=True)
class LogLine:
    """A line of a job's log.

    Args:
        host: ``algo-1``, ….
        time_ms: Milliseconds since 1970.
        text: Without its line break.
    """

    host: str
    time_ms: int
    text: str


@dataclass(frozen=True)
class LogPosition:
    """How far a log has been read, so that reading goes on without a lost or a doubled line; JSON-able.

    Args:
        tokens: Stream name to the API's forward token.
    """

    tokens: Mapping[str, str]


def own_reason(text: str) -> str:
    """Return why a job failed without SageMaker's frame around what the job itself said, without a full stop.

    Example:
        >>> own_reason("AlgorithmError: No picture., exit code: 1")
        'No picture'
    """
    return re.sub(r"^AlgorithmError: |, exit code: -?\d+$", "", " ".join(text.split())).rstrip(". ")


@dataclass(frozen=True)
class JobState:
    """What has become of a job.

    Args:
        name: Of the job.
        status: ``InProgress``, ``Completed``, ``Failed``, ``Stopping``, ``Stopped``.
        phase: SageMaker's secondary status: ``Starting``, ``Downloading``, ``Training``, ``Interrupted``, ….
        message: What AWS says of the phase, or why it failed.
        billable_s: Seconds that are paid for, as far as known.
        metrics: Last value of each metric definition.
        description: DescribeTrainingJob's whole answer.
    """

    name: str
    status: str
    phase: str
    message: str
    billable_s: int | None
    metrics: Mapping[str, float]
    description: Mapping[str, Any]

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will happen."""
        return self.status in ("Completed", "Failed", "Stopped")


class JobService(Protocol):
    """Training jobs. Every method raises `dogbreed.errors.UserError` for what the user can mend."""

    region: str

    def create(self, request: Mapping[str, Any]) -> str:
        """Send a CreateTrainingJob request and return the job's ARN."""

    def describe(self, name: str) -> JobState:
        """Ask what has become of a job."""

    def list_ours(self, prefix: str, limit: int) -> Sequence[JobState]:
        """List the newest jobs whose names begin so."""

    def stop(self, name: str) -> None:
        """Ask for a job's end; one that is over stays as it is."""

    def read_log(self, name: str, position: LogPosition | None) -> tuple[Sequence[LogLine], LogPosition]:
        """Read what is new in a job's log; no stream yet is no line."""
