"""Start one process a device for a run, watch over them, and end them all when one fails.

The supervisor is no rank itself. It keeps the store at which the ranks meet, holds the run folder,
prints and files what rank 0 logs, and passes signals on. A rank is `dogbreed.fit.rank`, which gets
its task by its standard input: others could read and write the store, and the command line may be
that of a sweep.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

from torch.distributed import PrefixStore, Store, TCPStore

from dogbreed.distributed import Failure, RankError
from dogbreed.early_end import EarlyEnd
from dogbreed.machine import num_cpus
from dogbreed.processes import handling, python_path

# Where a rank finds its supervisor and, rank 0, the way to log.
SUPERVISOR, LOG_SOCKET = "DOGBREED_SUPERVISOR", "DOGBREED_LOG_SOCKET"
RUN = "run"  # prefix of the ranks' own entries in the store

# After the first rank has gone: to go by themselves, after a failure or a signal; then, to go on SIGTERM.
FAILURE_GRACE_S, SIGNAL_GRACE_S, TERM_S = 2.0, 30.0, 8.0
POLL_S = 0.05
NUM_LAST_LINES = 20


def supervise(task: Mapping[str, Any], num_ranks: int) -> tuple[dict[str, float], Any, EarlyEnd | None]:
    """Run a configuration on several devices of this machine.

    Args:
        task: The arguments of `dogbreed.fit.run.run_in`, whose folder is held by the caller.
        num_ranks: Processes to start, one a device.

    Returns:
        Final metrics, the objective's value or values, and why the run has ended early, if it has.

    Raises:
        UserError: a rank's, as it was.
        RankError: a rank failed otherwise, or died without a word.
        KeyboardInterrupt: the run was told to stop.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with ExitStack() as stack:
        log_socket = stack.enter_context(_relayed_logs())
        ranks = [
            stack.enter_context(_Rank.started(rank, _environment(rank, num_ranks, store.port, log_socket, task), task))
            for rank in range(num_ranks)
        ]
        signals = stack.enter_context(_passed_on(ranks))
        log_socket.close()  # rank 0 has its own
        _wait(ranks, signals)
        _judge(ranks, store, is_interrupted=bool(signals))
    result = json.loads(store.get("result"))
    end = EarlyEnd(**result["early_end"]) if result["early_end"] else None
    return result["metrics"], result["objective"], end


class _Rank:
    """One started process."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], errors: IO[bytes] | None) -> None:
        self.number = number
        self.process = process
        self.code: int | None = None
        self.is_ended_by_us = False
        self._errors = errors

    @classmethod
    @contextmanager
    def started(cls, number: int, environment: dict[str, str], task: Mapping[str, Any]) -> Iterator[_Rank]:
        """Start the process and hand it its task; whatever happens, it is gone at the end."""
        # Rank 0 speaks for all; what the others say is kept for the case that they die.
        errors = None if number == 0 else tempfile.TemporaryFile()  # noqa: SIM115 -- closed below
        sockets = [int(environment[LOG_SOCKET])] if number == 0 else []
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dogbreed.fit.rank"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=None if number == 0 else errors,
            stderr=errors,
            pass_fds=sockets,
            start_new_session=True,  # Ctrl-C on a terminal reaches the supervisor alone, which passes it on once
        )
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as stdin:  # one that is dead already says why itself
                pickle.dump(dict(task), stdin)
            yield cls(number, process, errors)
        finally:
            process.kill()
            process.wait()
            if errors is not None:
                errors.close()

    def has_ended(self) -> bool:
        """Look whether it has, and remember how."""
        self.code = self.process.poll()
        return self.code is not None

    def end(self, signal_number: int) -> None:
        """Send a signal that is meant to end it."""
        if self.process.poll() is None:
            self.is_ended_by_us = True
            self.process.send_signal(signal_number)

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error; rank 0's is on the screen."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-NUM_LAST_LINES:])


def _environment(
    rank: int, num_ranks: int, port: int, log_socket: socket.socket, task: Mapping[str, Any]
) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        SUPERVISOR: str(os.getpid()),
        # The modules that the configuration names are those that this process would find.
        "PYTHONPATH": python_path(),
    }
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name may lead nowhere
    if task["cfg"].trainer.accelerator == "cpu":
        environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cpus() // num_ranks)))
    if rank == 0:
        environment[LOG_SOCKET] = str(log_socket.fileno())
    return environment


def _wait(ranks: list[_Rank], signals: list[int]) -> None:
    """Wait until all have ended; when one has failed, or gone on a signal, end the others."""
    failed_at: float | None = None
    while sum(rank.has_ended() for rank in ranks) < len(ranks):
        now = time.monotonic()
        if failed_at is None and any(rank.code for rank in ranks):
            failed_at = now
        grace_s = SIGNAL_GRACE_S if signals else FAILURE_GRACE_S
        if failed_at is not None and now > failed_at + grace_s:
            for rank in ranks:
                if now > failed_at + grace_s + TERM_S:
                    rank.end(signal.SIGKILL)
                elif not rank.is_ended_by_us:
                    rank.end(signal.SIGTERM)
        time.sleep(POLL_S)


def _judge(ranks: list[_Rank], store: Store, *, is_interrupted: bool) -> None:
    """Raise what ended the run, unless it ended well."""
    if store.check(["result"]):  # all is done, even if a library's cleaning up has crashed
        return
    first = Failure.noted(PrefixStore(RUN, store))
    if is_interrupted and (first is None or first.kind in ("interrupted", "traceback")):
        raise KeyboardInterrupt
    # One that dies without a word is never the consequence of another's failure.
    for rank in ranks:
        if rank.code and not rank.is_ended_by_us and not store.check([f"told_{rank.number}"]):
            how = f"was ended by {signal.Signals(-rank.code).name}" if rank.code < 0 else f"left with code {rank.code}"
            error = RankError(f"rank {rank.number} {how} and said nothing of an error.")
            if words := rank.last_words():
                error.add_note(f"\nIts last lines:\n{words}")
            raise error
    assert first is not None
    raise first.as_error()


@contextmanager
def _passed_on(ranks: list[_Rank]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the ranks, which save and end; yield what has come so far."""
    received: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        received.append(number)
        for rank in ranks:
            rank.process.send_signal(number)

    with handling(pass_on, signal.SIGINT, signal.SIGTERM):
        yield received


@contextmanager
def _relayed_logs() -> Iterator[socket.socket]:
    """Give what rank 0 logs to this process's own loggers, as if it had been logged here.

    Yields:
        The rank's end of the connection. It waits for an answer to every line, so that
        its progress bar is not drawn before the line is out.
    """
    ours, theirs = socket.socketpair()

    def relay() -> None:
        # A rank that is killed resets the connection.
        with suppress(OSError), ours, ours.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                record = logging.makeLogRecord(json.loads(line))
                logger = logging.getLogger(record.name)
                if logger.isEnabledFor(record.levelno):
                    logger.handle(record)
                ours.sendall(b".")

    thread = threading.Thread(target=relay, name="rank 0's log", daemon=True)
    thread.start()
    try:
        yield theirs
    finally:
        theirs.close()
        thread.join(timeout=5)
