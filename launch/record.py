"""``launch.json``: what a run folder knows of the job that was shipped from it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError
from dogbreed.files import read_json, write_json
from launch.protocols import JobState, LogPosition

FILE_NAME = "launch.json"
# How deep run folders lie below runs/: a sweep's are one level further down.
MAX_DEPTH = 3


@dataclass(frozen=True)
class LaunchRecord:
    """A shipped job, as its run folder remembers it.

    Args:
        job_name: Of the training job.
        region: Where it runs.
        request: The one that was sent, whole: CreateTrainingJob's, or a tuning job's.
        endpoint_url: Address of AWS, where it is not the usual one: the stand-in's.
        account: Twelve digits.
        bundle_sha256: Of the source archive.
        revision: Of the source.
        most_usd: What the job can cost at most, in US dollars; None if no price is known.
        submitted: When the request was sent, ISO 8601 in UTC; None before AWS has taken it.
        state: The job's status when it was last looked at.
        secondary_state: Its phase.
        failure: Why it failed.
        fetched: When all of it was brought home, ISO 8601 in UTC.
        log_position: How far its log has been shown.
        overrides: As typed, as far as the job's configuration is composed from them.
    """

    job_name: str
    region: str
    request: Mapping[str, Any]
    endpoint_url: str | None = None
    account: str | None = None
    bundle_sha256: str | None = None
    revision: str | None = None
    most_usd: float | None = None
    submitted: str | None = None
    state: str | None = None
    secondary_state: str | None = None
    failure: str | None = None
    fetched: str | None = None
    log_position: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[str] = field(default_factory=list)

    def write(self, run_dir: Path) -> None:
        """Write ``launch.json``, whole or not at all."""
        write_json(run_dir / FILE_NAME, asdict(self))

    @classmethod
    def read(cls, run_dir: Path) -> LaunchRecord:
        """Read a run folder's.

        Raises:
            UserError: it has none, or it is damaged.
        """
        path = run_dir / FILE_NAME
        content = read_json(path)
        known = {item.name for item in fields(cls)}
        kept = {key: value for key, value in content.items() if key in known}
        whole = isinstance(kept.get("job_name"), str) and isinstance(kept.get("request"), dict) and kept.get("region")
        if not whole or not isinstance(kept.get("log_position", {}), dict):
            what = (
                f"{path} is damaged"
                if path.exists()
                else f"{run_dir} has no {FILE_NAME}, so no job was shipped from it"
            )
            msg = f"{what}: name the job itself, python -m launch.jobs list shows them."
            raise UserError(msg)
        return cls(**kept)

    def seen(self, state: JobState) -> LaunchRecord:
        """Return the record with what has become of the job."""
        failure = state.message if state.status == "Failed" else None
        return replace(self, state=state.status, secondary_state=state.phase, failure=failure)

    def read_to(self, position: LogPosition) -> LaunchRecord:
        """Return the record with the log shown so far."""
        return replace(self, log_position=dict(position.tokens))

    @property
    def is_tuning(self) -> bool:
        """Say whether it is a tuning job, with jobs of its own."""
        return "HyperParameterTuningJobName" in self.request

    @property
    def is_transform(self) -> bool:
        """Say whether it is a transform job, which has no run folder."""
        return "TransformJobName" in self.request

    @property
    def position(self) -> LogPosition | None:
        """How far the log has been shown; None if it has not."""
        return LogPosition(self.log_position) if self.log_position else None


def now() -> str:
    """Return the time as it stands in a record."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def find_records(folder: Path) -> Iterator[tuple[Path, LaunchRecord]]:
    """Find the run folders that a job was shipped from.

    Args:
        folder: ``runs``, a sweep's folder, or a run folder itself.

    Yields:
        Run folder and record, the newest first; damaged ones are left out.
    """
    found: list[tuple[float, Path]] = []
    top = os.fspath(folder)
    for place, names, files in os.walk(top):
        if FILE_NAME in files:
            found.append(((Path(place) / FILE_NAME).stat().st_mtime, Path(place)))
            names.clear()
        depth = len(Path(place).relative_to(top).parts)
        names[:] = [] if depth >= MAX_DEPTH else [name for name in names if not name.startswith(".")]
    # The folder's own name decides between two of the same second: it holds the time.
    for _, run_dir in sorted(found, reverse=True):
        try:
            yield run_dir, LaunchRecord.read(run_dir)
        except UserError:
            continue
