"""Ship a run: look, reckon, upload, send; in this order, so that nothing moves for what would be refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dogbreed.errors import UserError
from launch.cargo import Cargo, upload
from launch.facts import Facts
from launch.gather import facts_here, facts_of_account
from launch.overrides import job_overrides
from launch.plan import Plan, make_plan
from launch.protocols import JobService, JobState
from launch.record import FILE_NAME, LaunchRecord, now
from launch.settings import LaunchSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.aws.session import Aws

Say = Callable[[str], None]
Choices = Mapping[str, str | None]


class Shipment(Protocol):
    """One job on its way."""

    def follow(self) -> JobState:
        """Show what it does until it is over.

        Raises:
            UserError: its state cannot be had.
            KeyboardInterrupt: Ctrl-C; its text says how to go on.
        """

    def poll(self) -> JobState:
        """Ask what has become of it."""

    def fetch(self) -> None:
        """Bring what it has written into its run folder; of a job that failed, what there is."""

    def stop(self) -> None:
        """Ask for its end."""


def plan_here(cfg: DictConfig, overrides: Sequence[str], cargo: Cargo, choices: Choices | None = None) -> Plan:
    """Plan a job without asking AWS anything: for a dry run, and for ``launch=local``.

    Args:
        cfg: The composed configuration.
        overrides: As typed.
        cargo: What travels.
        choices: Group to option, as Hydra knows them.

    Raises:
        UserError: as `make_plan`.
    """
    return _plan(cfg, overrides, facts_here(LaunchSettings.of(cfg), cargo.facts), cargo, choices)


def submit(
    cfg: DictConfig,
    overrides: Sequence[str],
    run_dir: Path,
    *,
    choices: Choices | None = None,
    say: Say = lambda _: None,
) -> Shipment:
    """Send one job, or, with ``launch=local``, make it ready for this machine.

    Args:
        cfg: The composed configuration.
        overrides: As typed.
        run_dir: The run folder, where ``launch.json`` remembers the job before AWS hears of it.
        choices: Group to option, as Hydra knows them.
        say: Told what is being done.

    Raises:
        UserError: it cannot be sent; nothing runs then.
    """
    cargo = Cargo.pack(cfg)
    if LaunchSettings.of(cfg).is_local:
        return LocalJob(plan_here(cfg, overrides, cargo, choices), cargo, run_dir)
    from launch.aws.training_jobs import TrainingJobs

    def plan(facts: Facts) -> Plan:
        return _plan(cfg, overrides, facts, cargo, choices)

    return send(LaunchSettings.of(cfg), cargo, run_dir, plan, TrainingJobs, job_overrides(overrides), say)


def send(
    settings: LaunchSettings,
    cargo: Cargo,
    run_dir: Path,
    make: Callable[[Facts], Plan],
    service: Callable[[Aws], JobService],
    overrides: Sequence[str],
    say: Say,
    check: Callable[[JobService, Plan], None] = lambda _, __: None,
) -> SentJob:
    """Ask, reckon, upload and send: the way of every job, whatever its kind.

    Args:
        settings: The ``launch`` block.
        cargo: What travels.
        run_dir: The folder that remembers the job before AWS hears of it.
        make: Plans the job from facts.
        service: Takes it.
        overrides: As typed, those that make the job's configuration.
        say: Told what is being done.
        check: Asks AWS about what a plan alone cannot know, before anything travels.

    Raises:
        UserError: it cannot be sent; nothing runs then.
    """
    from launch.aws.session import connect
    from launch.aws.storage import S3Store

    if (run_dir / FILE_NAME).exists():
        msg = f"{run_dir} belongs to another job ({FILE_NAME}): choose another folder, hydra.run.dir=DIR."
        raise UserError(msg)
    aws = connect(settings)
    facts = facts_of_account(aws, settings, cargo.facts, say)
    # Once before anything travels: what AWS would refuse, or what may cost too much, moves no byte.
    plan = make(facts)
    jobs = service(aws)
    check(jobs, plan)
    say(f"{plan.name}: {plan.cost.describe()}")
    for note in plan.notes:
        say(note)
    addresses = upload(S3Store(aws, facts.bucket, settings.kms_key), cargo, plan, say)
    plan = make(replace(facts, addresses=addresses))
    record = LaunchRecord(
        plan.name,
        aws.region,
        plan.request,
        endpoint_url=aws.endpoint_url,
        account=aws.account,
        bundle_sha256=cargo.bundle.sha256,
        revision=cargo.facts.revision,
        most_usd=plan.cost.usd,
        overrides=list(overrides),
    )
    record.write(run_dir)
    jobs.create(plan.request)
    record = replace(record, submitted=now())
    record.write(run_dir)
    return SentJob(aws, jobs, record, run_dir, say, settings.poll_s)


def _plan(cfg: DictConfig, overrides: Sequence[str], facts: Facts, cargo: Cargo, choices: Choices | None) -> Plan:
    return make_plan(cfg, overrides, facts, choices=choices, pretrained=cargo.pretrained, wheels=cargo.wheels)


class SentJob:
    """A job at SageMaker.

    Args:
        aws: Its account.
        jobs: Where it runs.
        record: What its run folder knows of it.
        run_dir: The folder.
        say: Told what is being done.
        poll_s: Seconds between two looks.
    """

    def __init__(
        self, aws: Aws, jobs: JobService, record: LaunchRecord, run_dir: Path, say: Say, poll_s: float = 5.0
    ) -> None:
        self.record = record
        self._aws = aws
        self._jobs = jobs
        self._run_dir = run_dir
        self._say = say
        self._poll_s = poll_s

    def follow(self) -> JobState:
        """Show what it does until it is over."""
        from launch.follow import follow

        state = follow(self._jobs, self.record, self._run_dir, poll_s=self._poll_s)
        self.record = LaunchRecord.read(self._run_dir)
        return state

    def poll(self) -> JobState:
        """Ask what has become of it."""
        state = self._jobs.describe(self.record.job_name)
        self._keep(self.record.seen(state))
        return state

    def fetch(self) -> None:
        """Bring home what it has written."""
        from launch.homecoming import bring_home

        state = self.poll()
        bring_home(self._aws, self.record, state, self._run_dir, self._say)
        if state.is_over:
            self._keep(replace(self.record, fetched=now()))

    def stop(self) -> None:
        """Ask for its end."""
        self._jobs.stop(self.record.job_name)

    def _keep(self, record: LaunchRecord) -> None:
        if record != self.record:
            self.record = record
            record.write(self._run_dir)


class LocalJob:
    """A job on this machine, which runs while it is looked at and leaves everything where it belongs.

    Args:
        plan: What would be sent.
        cargo: The code.
        run_dir: The run folder.
    """

    def __init__(self, plan: Plan, cargo: Cargo, run_dir: Path) -> None:
        self._plan = plan
        self._cargo = cargo
        self._run_dir = run_dir

    def follow(self) -> JobState:
        """Run it.

        Raises:
            UserError: it has failed, in its own sentence.
        """
        from launch.local import run_locally

        channels = {channel.name: Path(channel.source) for channel, _ in self._plan.channels if channel.is_local}
        for channel, address in self._plan.channels:
            if not channel.is_local:
                msg = f"{channel.key}={address} with launch=local: nothing is fetched from S3; give a folder of here."
                raise UserError(msg)
        run_locally(self._plan.request, self._cargo.bundle.path, channels, self._run_dir)
        return JobState(self._plan.name, "Completed", "Completed", "", None, {}, {})

    def poll(self) -> JobState:
        """Run it; a failure is its state."""
        try:
            return self.follow()
        except UserError as error:
            return JobState(self._plan.name, "Failed", "Failed", str(error), None, {}, {})

    def fetch(self) -> None:
        """Do nothing: everything is here."""

    def stop(self) -> None:
        """Do nothing: it runs only while it is looked at."""
