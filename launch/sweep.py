"""So many jobs at a time, until each has an outcome; nothing here knows Hydra or AWS."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dogbreed.errors import UserError, sentence_of
from launch.executor import Executor, Handle, Limits, Outcome, SweepJob

log = logging.getLogger(__name__)

MAX_CONCURRENT = 4
POLL_S = 5.0
# A job that cannot be looked at so many times running has failed, as far as the sweep can know.
MAX_TROUBLES = 5


class Observer(Protocol):
    """Is told what becomes of jobs."""

    def begin(self, job: SweepJob) -> None:
        """A job is about to be begun."""

    def show(self, running: Sequence[tuple[SweepJob, str, float]]) -> None:
        """These jobs run, with what they do and since how many seconds."""

    def end(self, job: SweepJob, outcome: Outcome, seconds: float) -> None:
        """A job has its outcome."""


@dataclass
class _Running:
    job: SweepJob
    handle: Handle
    begun_s: float
    num_troubles: int = 0


def run_jobs(jobs: Sequence[SweepJob], executor: Executor, limits: Limits, observer: Observer) -> None:
    """Run jobs in order, so many at a time; what becomes of one is no matter of the others.

    Args:
        jobs: Those of a batch.
        executor: Runs them.
        limits: As the executor has settled them.
        observer: Is told.

    Raises:
        KeyboardInterrupt: Ctrl-C; its words say what has become of the jobs that ran.
    """
    waiting = deque(jobs)
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < (limits.max_concurrent or MAX_CONCURRENT):
                _begin(waiting.popleft(), executor, running, observer)
            has_ended = _look(running, limits, observer)
            observer.show([(one.job, one.handle.phase, time.monotonic() - one.begun_s) for one in running])
            if running and not has_ended:
                time.sleep(limits.poll_s or POLL_S)
    except KeyboardInterrupt as interruption:
        interruption.args = (_part(running, executor, observer),)
        raise


def _begin(job: SweepJob, executor: Executor, running: list[_Running], observer: Observer) -> None:
    begun_s = time.monotonic()
    observer.begin(job)
    try:
        running.append(_Running(job, executor.submit(job), begun_s))
    except Exception as error:  # noqa: BLE001 -- of this job, not of the sweep
        observer.end(job, Outcome(error=error), time.monotonic() - begun_s)


def _look(running: list[_Running], limits: Limits, observer: Observer) -> bool:
    """Look once at every job; say whether any has ended."""
    ended = []
    for one in running:
        outcome = _outcome(one, limits)
        if outcome:
            ended.append(one)
            observer.end(one.job, outcome, time.monotonic() - one.begun_s)
    running[:] = [one for one in running if one not in ended]
    return bool(ended)


def _outcome(one: _Running, limits: Limits) -> Outcome | None:
    try:
        outcome = one.handle.poll()
        one.num_troubles = 0
    except UserError as error:
        one.num_troubles += 1
        log.warning("sweep   #%d cannot be looked at: %s", one.job.number, sentence_of(error))
        return Outcome(error=error) if one.num_troubles == MAX_TROUBLES else None
    except Exception as error:  # noqa: BLE001 -- of this job, not of the sweep
        return Outcome(error=error)
    if outcome is None and limits.timeout_s is not None and time.monotonic() - one.begun_s >= limits.timeout_s:
        _stop(one)
        msg = f"No result after {limits.timeout_s:g} s, so it was stopped: raise launch.timeout_s."
        return Outcome(error=UserError(msg))
    return outcome


def _stop(one: _Running) -> None:
    try:
        one.handle.stop()
    except UserError as error:
        log.warning("sweep   #%d cannot be stopped: %s", one.job.number, sentence_of(error))


def _part(running: list[_Running], executor: Executor, observer: Observer) -> str:
    """Stop the jobs that run, or leave them; return what to tell the user."""
    if not running:
        return "No job is running."
    jobs = [one.job for one in running]
    numbers = ", ".join(f"#{job.number}" for job in jobs)
    if not executor.wants_stop(jobs):
        return f"Still running: {numbers}; see python -m launch.jobs list, logs, stop and fetch."
    for one in running:
        _stop(one)
        observer.end(one.job, Outcome(error=UserError("Stopped.")), time.monotonic() - one.begun_s)
    return f"Stopped: {numbers}. What was finished is kept."
