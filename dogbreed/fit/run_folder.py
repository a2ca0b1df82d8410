"""The run folder: names of what is in it, and who is at work in it."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError, sentence_of
from dogbreed.files import disk_errors, read_json, write_json
from dogbreed.machine import source_revision, versions


class RunFolder:
    """One run's files.

    ``run.json`` says what became of the run: state (``running``, ``completed``,
    ``failed``, ``interrupted``), times, the error's sentence, versions.

    Args:
        path: The folder.
        checkpoint_dir: Where checkpoints go instead of ``checkpoints/``.
    """

    def __init__(self, path: str | Path, checkpoint_dir: str | Path | None = None) -> None:
        self.path = Path(path)
        self.checkpoints = Path(checkpoint_dir).expanduser() if checkpoint_dir else self.path / "checkpoints"
        self.model = self.path / "model"
        self.metrics_json = self.path / "metrics.json"
        self.metrics_csv = self.path / "metrics.csv"
        self.splits_csv = self.path / "splits.csv"
        self.predictions_csv = self.path / "predictions.csv"
        self.classes_csv = self.path / "classes.csv"
        self.confusion_csv = self.path / "confusion.csv"
        self.confusion_png = self.path / "confusion.png"
        self.mistakes_png = self.path / "mistakes.png"
        self.thumbs = self.path / "thumbs"
        self.curves_png = self.path / "curves.png"
        self._state_json = self.path / "run.json"
        self._lock = self.path / "run.lock"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Hold the folder, made if it is not there, for a run and record how the run ends.

        Raises:
            UserError: another run is at work here, a finished one is kept here, or
                nothing can be written here.
        """
        if self.state().get("state") == "completed":
            msg = f"{self.path} holds a finished run: choose another folder (hydra.run.dir=DIR) or delete this one."
            raise UserError(msg)
        with disk_errors(self.path, "hydra.run.dir=DIR"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            try:
                self._try_checkpoints()
                yield from self._recorded()
            finally:
                self._lock.unlink(missing_ok=True)

    def _recorded(self) -> Iterator[None]:
        started = time.time()
        self._record("running", started)
        try:
            yield
        except KeyboardInterrupt:
            self._record("interrupted", started, finished=time.time())
            raise
        except Exception as error:
            self._record("failed", started, finished=time.time(), error=sentence_of(error))
            raise
        else:
            self._record("completed", started, finished=time.time())

    def state(self) -> dict[str, Any]:
        """Return ``run.json``; empty where there is none or it is damaged."""
        return read_json(self._state_json)

    def _try_checkpoints(self) -> None:
        """Find out now, not after an epoch, whether checkpoints can be written."""
        with disk_errors(self.checkpoints, "checkpoint_dir=DIR"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.checkpoints).close()

    def _take_lock(self) -> None:
        mine = {"pid": os.getpid(), "host": socket.gethostname()}
        try:
            with self._lock.open("x") as file:
                json.dump(mine, file)
        except FileExistsError:
            self._take_over_lock(mine)

    def _take_over_lock(self, mine: dict[str, Any]) -> None:
        try:
            theirs = json.loads(self._lock.read_text())
        except (OSError, ValueError):
            theirs = {}
        if theirs.get("host") != mine["host"] or _is_alive(int(theirs.get("pid", 0))):
            msg = (
                f"{self.path} belongs to a run that is going on (process {theirs.get('pid')} on {theirs.get('host')}): "
                f"choose another folder, or delete {self._lock} if that run is dead."
            )
            raise UserError(msg)
        write_json(self._lock, mine)

    def _record(self, state: str, started: float, **details: Any) -> None:
        finished = details.pop("finished", None)
        write_json(
            self._state_json,
            {
                "state": state,
                "started": _iso(started),
                "finished": _iso(finished) if finished else None,
                "seconds": round(finished - started, 3) if finished else None,
                "error": details.get("error"),
                "source_revision": source_revision(),
                "versions": versions(),
            },
        )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
