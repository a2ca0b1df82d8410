"""Several trials at a time on one machine: processes of the same command, which share a study.

Each runs trials until the study has enough, one after the other, on its share of the machine. This process runs none:
it watches over them, and keeps the sweep's record. A worker that dies is replaced; what it was at is in the study.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dogbreed.command import SEARCH_WORKER, add_overrides
from dogbreed.errors import UserError
from dogbreed.files import disk_errors
from dogbreed.processes import handling, python_path
from dogbreed.run_files import RUN_JSON
from dogbreed.sweeps.shares import Share, shares_of_this_machine
from dogbreed.sweeps.space import override_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

# Between two looks at the workers.
LOOK_S = 0.25
# For workers to save and end, after a signal.
GRACE_S = 60.0
# What comes again so soon is the same wish: ``timeout`` signals a process and then its group.
ECHO_S = 0.5
# So many deaths of workers, for each of them, without any trial begun or ended in between, are no accident.
MAX_DEATHS = 2
NUM_LAST_LINES = 12

DONE, TOLD, INTERRUPTED = 0, 2, 130


def run_workers(config: DictConfig, num_workers: int, on_change: Callable[[], None]) -> None:
    """Have workers run trials until there are enough.

    Args:
        config: Of the sweep, ``hydra`` included; the workers get the command line of this process, and its folder.
        num_workers: How many, >= 1.
        on_change: Called when a trial has begun or ended in the sweep's folder, and once at the end.

    Raises:
        UserError: a worker has ended with a sentence, or workers die again and again; there are too few GPUs.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the workers have saved and ended.
    """
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    shares = shares_of_this_machine(config, num_workers)
    with disk_errors(folder, "hydra.sweep.dir=DIR"), ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        signals = stack.enter_context(_noted_signals())
        crew = stack.enter_context(_Crew.started(folder, shares))
        try:
            _watch(crew, signals, folder, on_change)
        finally:
            crew.end()
            on_change()
    if signals:
        raise KeyboardInterrupt


def worker_command(folder: Path, arguments: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return how this process's command is run as a worker's.

    Args:
        folder: Of the sweep.
        arguments: Of the command line.

    Returns:
        ``module`` or ``file``, its name, and its arguments.
    """
    own = [override_text("hydra.sweep.dir", str(folder)), "hydra.sweeper.n_jobs=1"]
    kind, name = _program()
    return kind, name, add_overrides(arguments, own)


def _program() -> tuple[str, str]:
    """Tell how Python was started: with a module (``-m``), or with a file."""
    started, main = sys.argv[0], sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = Path(started)
    if spec is not None and file.exists() and Path(str(getattr(main, "__file__", ""))).absolute() == file.absolute():
        return "module", str(spec.name).removesuffix(".__main__")
    return ("file", str(file.absolute())) if file.exists() else ("module", started)


class _Worker:
    """One started process."""

    def __init__(self, index: int, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.index = index
        self.process = process
        self.log_file = log_file

    @classmethod
    def started(cls, index: int, share: Share, folder: Path) -> _Worker:
        """Start it; what it writes goes to a file of its own."""
        kind, name, arguments = worker_command(folder, sys.argv[1:])
        cores = ",".join(map(str, share.cores)) or "-"
        environment = {**os.environ, **share.environment, SEARCH_WORKER: str(index), "PYTHONPATH": python_path()}
        environment.setdefault("OMP_NUM_THREADS", str(share.num_cores))
        log_file = folder / f"worker-{index}.log"
        stream: IO[bytes]
        with log_file.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603 -- our own command line
                [sys.executable, "-P", "-m", "dogbreed.sweeps.worker", str(os.getpid()), cores, kind, name, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C on a terminal reaches us alone; we pass it on
            )
        return cls(index, process, log_file)

    def last_words(self) -> str:
        """Return the sentence that it has ended with, else the end of what it wrote."""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        sentences = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        return sentences[-1] if sentences else "\n".join(lines[-NUM_LAST_LINES:])


class _Crew:
    """The workers that run."""

    def __init__(self, folder: Path, shares: Sequence[Share]) -> None:
        self._folder = folder
        self._shares = shares
        self._workers: list[_Worker] = []
        self._num_deaths = 0

    @classmethod
    @contextmanager
    def started(cls, folder: Path, shares: Sequence[Share]) -> Iterator[_Crew]:
        """Start all; whatever happens, they are gone at the end."""
        crew = cls(folder, shares)
        try:
            for index in range(len(shares)):
                crew._start(index)
            yield crew
        finally:
            for worker in crew._workers:
                worker.process.kill()
                worker.process.wait()

    @property
    def is_at_work(self) -> bool:
        """Whether any still runs."""
        return any(worker.process.poll() is None for worker in self._workers)

    def forgive(self) -> None:
        """Take note that there is progress."""
        self._num_deaths = 0

    def look(self) -> None:
        """Replace those that have died.

        Raises:
            UserError: one has ended with a sentence, or they die one after the other.
        """
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None or code == DONE:
                continue
            if code == TOLD:
                raise UserError(worker.last_words())
            self._workers.remove(worker)
            self._num_deaths += 1
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with code {code}"
            if self._num_deaths > MAX_DEATHS * len(self._shares):
                msg = (
                    f"Workers die again and again; the last one {how}. Its last words, in {worker.log_file}:\n"
                    f"{worker.last_words()}"
                )
                raise UserError(msg)
            log.warning("worker  %d %s (%s); another one takes its place", worker.index, how, worker.log_file)
            self._start(worker.index)

    def signal(self, number: signal.Signals) -> None:
        """Send all a signal."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def end(self, grace_s: float = GRACE_S) -> None:
        """Have all save and end, and wait for them as long."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.is_at_work and time.monotonic() < deadline:
            time.sleep(LOOK_S)

    def _start(self, index: int) -> None:
        self._workers.append(_Worker.started(index, self._shares[index], self._folder))


def _watch(crew: _Crew, signals: list[float], folder: Path, on_change: Callable[[], None]) -> None:
    """Look after the workers until all are done, or until a signal has ended them."""
    seen = _trials(folder)
    told_at: float | None = None
    while crew.is_at_work or not signals:
        if not signals:
            crew.look()
            if not crew.is_at_work:
                return
        elif told_at is None:
            crew.signal(signal.SIGTERM)
            told_at = time.monotonic()
        elif len(signals) > 1 or time.monotonic() - told_at > GRACE_S:
            crew.signal(signal.SIGKILL)
        now = _trials(folder)
        if now != seen:
            seen = now
            crew.forgive()
            on_change()
        time.sleep(LOOK_S)


def _trials(folder: Path) -> dict[str, tuple[int, int]]:
    """Tell states of trials apart: a run that begins or ends replaces its ``run.json``."""
    found = {}
    for entry in os.scandir(folder):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, RUN_JSON).stat()
            except OSError:
                continue
            found[entry.name] = (status.st_ino, status.st_mtime_ns)
    return found


@contextmanager
def _noted_signals() -> Iterator[list[float]]:
    """Note when SIGINT and SIGTERM come, instead of being interrupted; yield the times."""
    received: list[float] = []

    def note(*_: Any) -> None:
        now = time.monotonic()
        if not received:
            os.write(2, b"\nstopping as soon as the workers have saved; once more stops at once\n")
        if not received or now - received[-1] > ECHO_S:
            received.append(now)

    with handling(note, signal.SIGINT, signal.SIGTERM):
        yield received
