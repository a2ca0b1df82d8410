"""The jobs of a sweep as shipped runs."""

from __future__ import annotations

import copy
import importlib
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dogbreed.config import objectives
from dogbreed.errors import UserError
from dogbreed.files import read_json
from dogbreed.run_files import METRICS_JSON
from launch.asking import agrees, is_at_terminal
from launch.executor import Limits, Outcome, SweepJob
from launch.follow import check_outcome
from launch.protocols import JobState
from launch.settings import LaunchSettings
from launch.ship import Shipment

# Ships a run: configuration, overrides, run folder.
Submit = Callable[[DictConfig, Sequence[str], Path], Shipment]


class SageMakerExecutor:
    """Ship each job of a sweep as ``python -m launch.train`` would, and bring its run folder home.

    Args:
        task_function: Hydra's; the job has its own.
        submit: Ships a run; None for `launch.ship.submit`.
    """

    def __init__(self, task_function: Any = None, submit: Submit | None = None) -> None:
        self._submit = submit

    def settle(self, jobs: Sequence[SweepJob], asked: Limits) -> Limits:
        """Refuse what cannot be shipped; fill in what ``launch.*`` says.

        Raises:
            UserError: names the key and the remedy.
        """
        settings = [_settings(job) for job in jobs]
        is_local = any(one.target == "local" for one in settings)
        if is_local and (asked.max_concurrent or 1) > 1:
            msg = (
                f"hydra.launcher.max_concurrent={asked.max_concurrent}: with launch.target=local the jobs of a sweep "
                "run here one after the other; leave it out."
            )
            raise UserError(msg)
        timeouts = [one.timeout_s for one in settings]
        return Limits(
            max_concurrent=1 if is_local else asked.max_concurrent or min(one.max_concurrent for one in settings),
            timeout_s=asked.timeout_s or (None if None in timeouts else max(time for time in timeouts if time)),
            poll_s=asked.poll_s or min(one.poll_s for one in settings),
        )

    def submit(self, job: SweepJob) -> ShippedJob:
        """Ship a job.

        Raises:
            UserError: it cannot be shipped.
        """
        cfg, overrides = copy.deepcopy(job.cfg), list(job.overrides)
        if cfg.get("test_after_fit") == "auto":  # the job itself does not know that it is one of a sweep
            cfg.test_after_fit = False
            overrides.append("test_after_fit=false")
        ship: Submit = self._submit or importlib.import_module("launch.ship").submit
        return ShippedJob(job, ship(cfg, overrides, job.run_dir))

    def wants_stop(self, jobs: Sequence[SweepJob]) -> bool:
        """Ask at a terminal; elsewhere jobs go on."""
        return is_at_terminal() and agrees(f"\nStop the {len(jobs)} jobs that run, too?")


class ShippedJob:
    """A job that is on its way; when it is over its run folder comes home without anyone waiting for it.

    Args:
        job: What was shipped.
        shipment: Where it is.
    """

    def __init__(self, job: SweepJob, shipment: Shipment) -> None:
        self.phase = "Starting"
        self._job = job
        self._shipment = shipment
        self._over: JobState | None = None
        self._fetching: threading.Thread | None = None
        self._fetch_error: Exception | None = None

    def poll(self) -> Outcome | None:
        """Look once.

        Raises:
            UserError: its state cannot be had.
        """
        if self._over is None:
            state = self._shipment.poll()
            self.phase = state.phase
            if not state.is_over:
                return None
            self._over, self.phase = state, "Fetching"
            self._fetching = threading.Thread(target=self._fetch, daemon=True)
            self._fetching.start()
        assert self._fetching
        return None if self._fetching.is_alive() else self._outcome(self._over)

    def stop(self) -> None:
        """Ask for its end.

        Raises:
            UserError: that cannot be asked for.
        """
        if self._over is None:
            self._shipment.stop()

    def _fetch(self) -> None:
        try:
            self._shipment.fetch()
        except Exception as error:  # noqa: BLE001 -- told by the outcome, in another thread
            self._fetch_error = error

    def _outcome(self, state: JobState) -> Outcome:
        try:
            check_outcome(state)
        except UserError as error:
            return Outcome(error=error)
        if self._fetch_error:
            return Outcome(error=self._fetch_error)
        return _objective(self._job)


def _objective(job: SweepJob) -> Outcome:
    """Read the objective from the run folder that came home."""
    file = job.run_dir / METRICS_JSON
    metrics = read_json(file)
    if not metrics:
        return Outcome(error=UserError(f"The job has written no metrics: {file} is missing."))
    values = [math.nan if metrics.get(name) is None else float(metrics[name]) for name in objectives(job.cfg)]
    return Outcome(values[0] if isinstance(job.cfg.objective, str) else values)


def _settings(job: SweepJob) -> LaunchSettings:
    """Return a job's settings, if they are ones that a sweep can go by.

    Raises:
        UserError: names the key and the remedy.
    """
    cfg = job.cfg
    if cfg.get("launch") is None:
        msg = (
            "hydra/launcher=sagemaker ships every job, and launch is not set: choose a machine, for instance "
            "launch=a10g, or launch=local to try it here."
        )
        raise UserError(msg)
    settings = LaunchSettings.of(cfg)
    refusals = {
        "launch.wait=false": (not settings.wait, "a sweep waits for its results; leave it out"),
        "launch.dry_run=true": (
            settings.dry_run,
            "python -m launch.train shows one job of a sweep; leave out -m there",
        ),
        f"resume={cfg.resume}": (cfg.resume not in ("auto", "never"), "a job goes on from its own checkpoints only"),
        f"checkpoint_dir={cfg.checkpoint_dir}": (bool(cfg.checkpoint_dir), "a job has its own place; leave it out"),
    }
    for key, (is_refused, why) in refusals.items():
        if is_refused:
            msg = f"{key} with hydra/launcher=sagemaker: {why}."
            raise UserError(msg)
    return settings
