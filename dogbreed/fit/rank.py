"""One rank of a run: ``python -m dogbreed.fit.rank``, started by `dogbreed.fit.ranks` and nobody else."""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import sys
from dataclasses import asdict

from dogbreed.distributed import SENTENCES, Failure, is_echo, is_main, joined, shared_fate, world
from dogbreed.fit.ranks import LOG_SOCKET, RUN, SUPERVISOR
from dogbreed.imports import importing
from dogbreed.processes import die_with


def main() -> int:
    """Do this rank's part of the task that our supervisor hands over; return the exit code."""
    die_with(int(os.environ[SUPERVISOR]))
    with importing():
        from torch.distributed import PrefixStore, TCPStore

        from dogbreed.files import disk_errors
        from dogbreed.fit.run import run_in
        from dogbreed.fit.stop import StopSignals

    if is_main():
        _log_to(socket.socket(fileno=int(os.environ[LOG_SOCKET])))
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    run_store = PrefixStore(RUN, store)
    task = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from our supervisor, through a pipe
    try:
        on_disk = disk_errors(task["run_dir"], "hydra.run.dir=DIR")
        with joined(run_store), StopSignals() as stop, shared_fate(), on_disk:
            result = run_in(**task, stop=stop)
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 -- the supervisor tells it
        failure = Failure.of(error)
        if not is_echo(error):
            failure.note(run_store)
        store.set(f"told_{world().rank}", "")
        return {"interrupted": 130, **dict.fromkeys(SENTENCES, 2)}.get(failure.kind, 1)
    if is_main():
        end = asdict(result.early_end) if result.early_end else None
        store.set("result", json.dumps({"metrics": result.metrics, "objective": result.objective, "early_end": end}))
    return 0


class _RelayHandler(logging.Handler):
    """Send lines to the supervisor and wait until each is out."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        message = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        self._connection.sendall(json.dumps({**message, "msg": record.getMessage()}).encode() + b"\n")
        self._connection.recv(1)


def _log_to(connection: socket.socket) -> None:
    logging.root.handlers = [_RelayHandler(connection)]
    logging.root.setLevel(logging.INFO)


if __name__ == "__main__":
    assert world().is_started
    sys.exit(main())
