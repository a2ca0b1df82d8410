"""Follow a job live: phases, the lines of its log, the numbers at the end; across lost networks and restarts."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dogbreed.errors import UserError
from dogbreed.processes import handling
from dogbreed.tables import format_table
from launch.asking import agrees, is_at_terminal
from launch.aws.transient import TransientError
from launch.protocols import JobService, JobState, LogLine, own_reason
from launch.record import LaunchRecord

# The network is asked for after so many seconds, twice as many each time up to the most, less a random half.
FIRST_WAIT_S = 1.0
MOST_WAIT_S = 30.0
# CloudWatch delivers a job's last lines some time after its end: so many seconds without a new one are the end of it.
SETTLE_S = 2.0
# A job that prints without end must not keep us from looking at its state.
MAX_PAGES = 20

T = TypeVar("T")


@dataclass
class Following:
    """A job that is being followed.

    Args:
        service: Where it runs.
        record: What is known of it; where its log has been shown up to.
        run_dir: Its folder, whose record is kept up to date; None for a job without one.
        poll_s: Seconds between two looks, > 0.
        settle_s: The log is at its end when the job is over and nothing new has come for so many seconds.
    """

    service: JobService
    record: LaunchRecord
    run_dir: Path | None
    poll_s: float
    settle_s: float

    def keep(self, record: LaunchRecord) -> None:
        """Remember, in the folder too."""
        if record != self.record:
            self.record = record
            if self.run_dir:
                record.write(self.run_dir)


def follow(
    service: JobService,
    record: LaunchRecord,
    run_dir: Path | None = None,
    *,
    poll_s: float = 5.0,
    settle_s: float = SETTLE_S,
) -> JobState:
    """Show what a job does until it is over.

    Going on later, in another process, neither loses nor repeats a line: the place is in the run folder's record. Lost
    networks are waited for, however long. Ctrl-C asks at a terminal whether to stop the job; anywhere else it leaves.

    Args:
        service: Where the job runs.
        record: What its run folder knows of it.
        run_dir: The folder; None for a job without one, whose log is then shown from ``record``'s place on.
        poll_s: Seconds between two looks, > 0.
        settle_s: The log is at its end when the job is over and nothing new has come for so many seconds.

    Returns:
        What has become of it; `check_outcome` judges it.

    Raises:
        UserError: AWS refuses to tell, for instance because credentials have expired.
        KeyboardInterrupt: Ctrl-C; its text says how to go on.
    """
    following = Following(service, record, run_dir, poll_s, settle_s)
    try:
        state = _watch(following)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_leave(following)) from None
    _say_metrics(state)
    return state


def check_outcome(state: JobState) -> None:
    """Turn a job's bad end into its sentence.

    Args:
        state: Of a job that is over.

    Raises:
        UserError: it failed or was stopped.
    """
    if state.status == "Failed":
        msg = f"The job {state.name} failed: {failure_of(state)}"
        raise UserError(msg)
    if state.status == "Stopped":
        why = {
            "MaxRuntimeExceeded": "reached its limit, launch.max_run_s, before its end",
            "MaxWaitTimeExceeded": "reached its limit, launch.max_wait_s, before its end",
        }
        what = why.get(state.phase, "was stopped before its end")
        msg = f"The job {state.name} {what}; python -m launch.jobs fetch {state.name} brings home what there is of it."
        raise UserError(msg)


def failure_of(state: JobState) -> str:
    """Return why a job failed, without SageMaker's frame around what the job itself said, as one sentence."""
    return f"{own_reason(state.message) or 'SageMaker gives no reason; its log may tell'}."


def _watch(following: Following) -> JobState:
    """Show status and log until the job is over and its log has come to an end."""
    name = following.record.job_name
    shown: tuple[str, str] | None = None
    last_news = time.monotonic()
    while True:
        # The state first: what is printed before the end is then in the log that is read after it.
        state = patiently(partial(following.service.describe, name))
        with uninterrupted():
            if (state.status, state.phase) != shown:
                _say_phase(state)
                shown = (state.status, state.phase)
            following.keep(following.record.seen(state))
        has_news = _show_log(following)
        if has_news or not state.is_over:
            last_news = time.monotonic()
        elif time.monotonic() - last_news >= following.settle_s:
            return state
        time.sleep(min(following.settle_s / 2, following.poll_s) if state.is_over else following.poll_s)


def _show_log(following: Following) -> int:
    """Print what is new in the log, page by page; return how many lines that was."""
    num_lines = 0
    with_host = num_machines(following.record.request) > 1
    for _ in range(MAX_PAGES):
        before = following.record.position
        lines, position = patiently(partial(following.service.read_log, following.record.job_name, before))
        # Ctrl-C waits until what is printed is remembered.
        with uninterrupted():
            print_lines(lines, with_host=with_host)
            following.keep(following.record.read_to(position))
        num_lines += len(lines)
        if not lines and following.record.position == before:
            break
    return num_lines


def print_lines(lines: Iterable[LogLine], *, with_host: bool) -> None:
    """Print lines of a log.

    Args:
        lines: In order.
        with_host: With the machine's name before each.
    """
    for line in lines:
        sys.stdout.write(f"{line.host}  {line.text}\n" if with_host else f"{line.text}\n")
    sys.stdout.flush()


def num_machines(request: Mapping[str, Any]) -> int:
    """Return how many machines a request asks for; 1 where it does not say."""
    resources = request.get("ResourceConfig") or request.get("TransformResources") or {}
    return int(resources.get("InstanceCount") or 1)


def patiently(ask: Callable[[], T], what: str = "The job") -> T:
    """Ask until there is an answer; say once that there is none, and once that there is again.

    Args:
        ask: Asks; raises `TransientError` for what passes by itself.
        what: Goes on meanwhile.
    """
    wait_s = FIRST_WAIT_S
    is_told = False
    while True:
        try:
            answer = ask()
        except TransientError as error:
            if not is_told:
                say(f"{error} {what} goes on; so does this when AWS answers again …")
                is_told = True
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(MOST_WAIT_S, 2 * wait_s)
        else:
            if is_told:
                say("AWS answers again.")
            return answer


def say(text: str) -> None:
    """Print a line of ours, which is not the job's."""
    sys.stderr.write(f"launch  {text}\n")
    sys.stderr.flush()


def _say_phase(state: JobState) -> None:
    moment = time.strftime("%H:%M:%S")
    # Why a job failed is the last thing that is said.
    message = f"  {state.message}" if state.message and state.status != "Failed" else ""
    say(f"{moment}  {state.phase}{message}")


def _say_metrics(state: JobState) -> None:
    if state.metrics:
        sys.stdout.write(f"\n{format_table(['metric', 'last value'], sorted(state.metrics.items()))}\n")
        sys.stdout.flush()


def _leave(following: Following) -> str:
    """Ask at a terminal whether to stop the job; say how to go on."""
    name = following.record.job_name
    target = following.run_dir or name
    if is_at_terminal() and agrees(f"\nStop the job {name} as well? It costs money as long as it runs."):
        following.service.stop(name)
        return f"{name} is being stopped; python -m launch.jobs fetch {target} brings home what there is of it."
    return f"The job {name} goes on: python -m launch.jobs logs -f {target} follows it, stop {target} ends it."


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the block."""
    arrived: list[int] = []
    with handling(lambda number, _: arrived.append(number), signal.SIGINT, signal.SIGTERM):
        yield
    if arrived:
        raise KeyboardInterrupt
