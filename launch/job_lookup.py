"""Find a job by its name, its run folder or nothing at all: in run folders first, then in AWS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError, did_you_mean
from launch.homecoming import service_of
from launch.names import MAX_TUNING_NAME
from launch.protocols import JobService, JobState
from launch.record import FILE_NAME, LaunchRecord, find_records

if TYPE_CHECKING:
    from launch.aws.session import Aws

# Names to guess from when one is not known.
NUM_GUESSES = 50


@dataclass
class Job:
    """A job that was found.

    Args:
        record: What is known of it.
        run_dir: Its folder; None where only AWS knows it.
        aws: The account.
        service: Where it runs.
    """

    record: LaunchRecord
    run_dir: Path | None
    aws: Aws
    service: JobService

    def keep(self, state: JobState) -> None:
        """Remember in its run folder what has become of it."""
        self.record = self.record.seen(state)
        if self.run_dir:
            self.record.write(self.run_dir)


class Lookup:
    """Where jobs are looked for.

    Args:
        region: AWS region; None for a run folder's, or that of the AWS configuration.
        runs: Run folders lie below it.
    """

    def __init__(self, region: str | None, runs: Path) -> None:
        self._region = region
        self.runs = runs

    def find(self, target: str | None) -> Job:
        """Find one job.

        Args:
            target: Its name or run folder; None for the newest below `runs`.

        Raises:
            UserError: there is none; AWS cannot be asked.
        """
        if target is None:
            newest = next(iter(self.records), None)
            if newest is None:
                msg = f"No job was shipped from {self.runs}: name one, python -m launch.jobs list shows them."
                raise UserError(msg)
            return self._of(*newest)
        folder = Path(target).expanduser()
        if (folder / FILE_NAME).is_file() or ("/" in target and folder.is_dir()):
            return self._of(folder, LaunchRecord.read(folder))
        for run_dir, record in self.records:
            if target in (record.job_name, run_dir.name):
                return self._of(run_dir, record)
        return self._in_aws(target)

    @cached_property
    def records(self) -> list[tuple[Path, LaunchRecord]]:
        """Run folders below `runs` that jobs were shipped from, the newest first."""
        return list(find_records(self.runs))

    def connect(self, region: str | None = None, endpoint_url: str | None = None) -> Aws:
        """Connect to AWS.

        Args:
            region: Unless the command line names one.
            endpoint_url: Instead of the usual address.

        Raises:
            UserError: the SDK is missing, there is no region, no credentials.
        """
        from launch.aws.session import Aws, connect
        from launch.settings import LaunchSettings

        aws = connect(LaunchSettings(region=self._region or region))
        if endpoint_url and endpoint_url != aws.endpoint_url:
            aws = Aws(aws.session, aws.region, endpoint_url)
        return aws

    def list_all(self, aws: Aws, prefix: str, limit: int) -> list[JobState]:
        """List the newest jobs of ours, tuning jobs among them, whose names begin so.

        Args:
            aws: The account.
            prefix: Beginning of their names; empty for all.
            limit: At most so many.

        Raises:
            UserError: AWS cannot be asked.
        """
        from launch.aws.training_jobs import TrainingJobs
        from launch.aws.tuning_jobs import TuningJobs
        from launch.follow import say

        states = list(TrainingJobs(aws).list_ours(prefix, limit))
        try:
            states += TuningJobs(aws).list_ours(prefix, limit)
        except UserError as error:  # a right of its own, which an account may not give
            say(f"Tuning jobs are not listed: {error}")
        return sorted(states, key=lambda state: state.description["CreationTime"], reverse=True)[:limit]

    def _of(self, run_dir: Path, record: LaunchRecord) -> Job:
        aws = self.connect(record.region, record.endpoint_url)
        return Job(record, run_dir, aws, service_of(aws, record))

    def _in_aws(self, name: str) -> Job:
        from launch.aws.jobs import UnknownJobError
        from launch.aws.training_jobs import TrainingJobs
        from launch.aws.transform_jobs import TransformJobs
        from launch.aws.tuning_jobs import TuningJobs

        aws = self.connect()
        unknown: UnknownJobError | None = None
        kinds: list[JobService] = [TrainingJobs(aws), TransformJobs(aws), TuningJobs(aws)]
        for service in kinds if len(name) <= MAX_TUNING_NAME else kinds[:2]:
            try:
                state = service.describe(name)
            except UnknownJobError as error:
                unknown = unknown or error
            else:
                record = LaunchRecord(name, aws.region, _request_of(state), endpoint_url=aws.endpoint_url)
                return Job(record.seen(state), None, aws, service)
        known = [record.job_name for _, record in self.records]
        known += [state.name for state in self.list_all(aws, "", NUM_GUESSES)]
        raise UserError(f"{unknown} {did_you_mean(name, known)}".strip()) from unknown


def _request_of(state: JobState) -> dict[str, object]:
    """Return what AWS repeats of the request when it describes a job."""
    kept = (
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobConfig",
        "TrainingJobDefinition",
        "TrainingJobName",
        "RoleArn",
        "AlgorithmSpecification",
        "HyperParameters",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
        "CheckpointConfig",
        "EnableManagedSpotTraining",
        "TransformJobName",
        "TransformInput",
        "TransformOutput",
        "TransformResources",
    )
    return {key: state.description[key] for key in kept if key in state.description}
