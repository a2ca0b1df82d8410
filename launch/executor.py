"""The seam between a sweep and whoever runs its jobs: SageMaker, processes, or a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Args:
        number: In the sweep, from 0.
        overrides: The strings that make its configuration, without Hydra's own.
        cfg: The configuration that they make.
        hydra_cfg: Hydra's own, below its key ``hydra``.
        run_dir: Its run folder, which exists and holds ``.hydra/``.
    """

    number: int
    overrides: tuple[str, ...]
    cfg: DictConfig
    hydra_cfg: DictConfig
    run_dir: Path


@dataclass(frozen=True)
class Outcome:
    """What has come of a job.

    Args:
        value: What its task returned, or the objective; values for a list.
        error: Why it failed; None if it did not.
    """

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Limits:
    """How the jobs of a sweep are run; None for what is not said.

    Args:
        max_concurrent: Jobs at a time, >= 1.
        timeout_s: A job that has no result after so many seconds is stopped and has failed, > 0.
        poll_s: Seconds between two looks at the jobs, > 0.

    Raises:
        UserError: a number is out of range.
    """

    max_concurrent: int | None = None
    timeout_s: float | None = None
    poll_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_concurrent is not None and self.max_concurrent < 1:
            msg = f"hydra.launcher.max_concurrent={self.max_concurrent} must be at least 1."
            raise UserError(msg)
        for name in ("timeout_s", "poll_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                msg = f"hydra.launcher.{name}={value} must be above 0 seconds."
                raise UserError(msg)


class Handle(Protocol):
    """A job that was begun."""

    @property
    def phase(self) -> str:
        """What it does, in a word, as far as known from the last look."""

    def poll(self) -> Outcome | None:
        """Look once, without waiting; None while there is no outcome.

        Raises:
            UserError: it cannot be looked at now; asked again later.
        """

    def stop(self) -> None:
        """End it; one that is over stays as it is."""


class Executor(Protocol):
    """Runs the jobs of a sweep. It is built with Hydra's task function as its only argument."""

    def settle(self, jobs: Sequence[SweepJob], asked: Limits) -> Limits:
        """Look at a batch of jobs before any of them is begun.

        Args:
            jobs: All of the batch.
            asked: What ``hydra.launcher.*`` says.

        Returns:
            The limits to go by; without a timeout, jobs take as long as they take.

        Raises:
            UserError: one of them cannot be run.
        """

    def submit(self, job: SweepJob) -> Handle:
        """Begin a job, without waiting for it.

        Raises:
            UserError: it cannot be begun; it counts as failed.
        """

    def wants_stop(self, jobs: Sequence[SweepJob]) -> bool:
        """Say whether jobs that run are to be stopped, too, now that the sweep is interrupted."""
