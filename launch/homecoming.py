"""Bring a job home, whatever its kind: a run, or a tuning job with the runs of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from launch.fetch import Fetched, bucket_of, fetch, output_of
from launch.protocols import JobService, JobState
from launch.record import LaunchRecord

if TYPE_CHECKING:
    from launch.aws.session import Aws


def service_of(aws: Aws, record: LaunchRecord) -> JobService:
    """Return where a job of its kind runs."""
    from launch.aws.training_jobs import TrainingJobs
    from launch.aws.transform_jobs import TransformJobs
    from launch.aws.tuning_jobs import TuningJobs

    if record.is_transform:
        return TransformJobs(aws)
    return TuningJobs(aws) if record.is_tuning else TrainingJobs(aws)


def bring_home(
    aws: Aws,
    record: LaunchRecord,
    state: JobState,
    folder: Path,
    say: Callable[[str], None],
    *,
    is_everything: bool = False,
    is_again: bool = False,
) -> Fetched:
    """Bring home what a job has written; of one that failed or runs, what there is.

    Args:
        aws: Its account.
        record: What is known of it.
        state: What has become of it.
        folder: Its run folder, or that of the tuning job.
        say: Told what is being done.
        is_everything: Of a tuning job, also models and checkpoints of those that are not the best.
        is_again: Of a tuning job, also what was fetched already.

    Raises:
        UserError: as `fetch`.
    """
    from launch.aws.storage import S3Store

    if record.is_transform:
        msg = f"{state.name} is a transform job: its answers lie below {output_of(state.description)}."
        raise UserError(msg)
    store = S3Store(aws, bucket_of(state.description))
    if not record.is_tuning:
        return fetch(store, state.description, folder, say)
    from launch.aws.training_jobs import TrainingJobs
    from launch.tuning.fetch import Which, fetch_trials

    which = Which(is_everything=is_everything, is_again=is_again)
    return fetch_trials(store, TrainingJobs(aws), record, state, folder, say, which)
