"""The run folder: names of what is in it, and who is at work in it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dogbreed import run_files
from dogbreed.early_end import EarlyEnd
from dogbreed.errors import FinalError, UserError, sentence_of
from dogbreed.files import disk_errors, read_json, remove_unfinished, write_json
from dogbreed.lock import hold_folder, release_folder, take_lock
from dogbreed.machine import describe_machine, source_revision, versions

T = TypeVar("T")


class RunFolder:
    """One run's files.

    ``run.json`` says what became of the run: state (``running``, ``completed``, ``pruned``,
    ``failed``, ``interrupted``), times, the error's sentence or the reason of an early end, versions.

    Args:
        path: The folder.
        checkpoint_dir: Where checkpoints go instead of ``checkpoints/``.
    """

    def __init__(self, path: str | Path, checkpoint_dir: str | Path | None = None) -> None:
        self.path = Path(path)
        self.checkpoints = Path(checkpoint_dir) if checkpoint_dir else self.path / run_files.CHECKPOINTS
        self.model = self.path / run_files.MODEL
        self.metrics_json = self.path / run_files.METRICS_JSON
        self.metrics_csv = self.path / run_files.METRICS_CSV
        self.splits_csv = self.path / run_files.SPLITS_CSV
        self.predictions_csv = self.path / run_files.PREDICTIONS_CSV
        self.classes_csv = self.path / run_files.CLASSES_CSV
        self.confusion_csv = self.path / run_files.CONFUSION_CSV
        self.confusion_png = self.path / run_files.CONFUSION_PNG
        self.mistakes_png = self.path / run_files.MISTAKES_PNG
        self.thumbs = self.path / run_files.THUMBS
        self.config_yaml = self.path / run_files.CONFIG_YAML
        self.curves_png = self.path / run_files.CURVES_PNG
        # Why a trial has ended early, to be said before `occupied` is left.
        self.pruned: EarlyEnd | None = None
        self._state_json = self.path / run_files.RUN_JSON
        self._lock = self.path / run_files.RUN_LOCK

    @contextmanager
    def occupied(
        self,
        fingerprint: tuple[str, str] | None = None,
        admit: Callable[[dict[str, Any]], T] | None = None,
        origin: Any = None,
    ) -> Iterator[T | None]:
        """Hold the folder, made if it is not there, for a run and record how the run ends.

        Args:
            fingerprint: What the run is, for ``run.json``.
            admit: Gets the ``run.json`` of before and may refuse; nothing is written until then.
            origin: Where its values come from, for ``run.json``.

        Yields:
            What ``admit`` returns.

        Raises:
            UserError: another run is at work here, a finished one is kept here, or
                nothing can be written here.
        """
        self._refuse_finished()
        with disk_errors(self.path, "hydra.run.dir=DIR"):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self._lock)
            shared = None
            try:
                self._refuse_finished()
                self._try_checkpoints()
                if self.checkpoints.parent != self.path:
                    shared = hold_folder(self.checkpoints)
                admitted = admit(self.state()) if admit else None
                remove_unfinished(self.path, run_files.WRITTEN)
                remove_unfinished(self.checkpoints, (run_files.BEST, run_files.LAST))
                with self._recorded(fingerprint, origin):
                    yield admitted
            finally:
                release_folder(shared)
                lock.release()

    def _refuse_finished(self) -> None:
        if self.state().get("state") in run_files.FINISHED_STATES:
            msg = f"{self.path} holds a finished run: choose another folder (hydra.run.dir=DIR) or delete this one."
            raise UserError(msg)

    @contextmanager
    def _recorded(self, fingerprint: tuple[str, str] | None, origin: Any = None) -> Iterator[None]:
        started = time.time()
        about: dict[str, Any] = {"fingerprint": list(fingerprint) if fingerprint else None, "origin": origin}
        self._record("running", started, **about)
        try:
            yield
        except KeyboardInterrupt:
            self._record_end("interrupted", started, **about)
            raise
        except Exception as error:
            is_resumable = not isinstance(error, FinalError)
            self._record_end("failed", started, error=sentence_of(error), is_resumable=is_resumable, **about)
            raise
        else:
            state, end = ("pruned", asdict(self.pruned)) if self.pruned else ("completed", {})
            self._record(state, started, finished=time.time(), **about, **end)

    def _record_end(self, state: str, started: float, **details: Any) -> None:
        """Record an end that is an error already: one more, on a full disk, would hide it."""
        with suppress(OSError):
            self._record(state, started, finished=time.time(), **details)

    def state(self) -> dict[str, Any]:
        """Return ``run.json``; empty where there is none or it is damaged."""
        return read_json(self._state_json)

    def retire_checkpoint(self) -> None:
        """Rename the last checkpoint of a finished run where other runs may come to look for one to go on from."""
        last = self.checkpoints / run_files.LAST
        if self.checkpoints.parent != self.path and last.exists():
            last.replace(last.with_name(run_files.FINISHED))

    def _try_checkpoints(self) -> None:
        """Find out now, not after an epoch, whether checkpoints can be written."""
        with disk_errors(self.checkpoints, "checkpoint_dir=DIR"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.checkpoints).close()

    def _record(self, state: str, started: float, **details: Any) -> None:
        finished = details.pop("finished", None)
        write_json(
            self._state_json,
            {
                "state": state,
                "started": _iso(started),
                "finished": _iso(finished) if finished else None,
                "seconds": round(finished - started, 3) if finished else None,
                "error": details.pop("error", None),
                **details,
                "source_revision": source_revision(),
                "versions": versions(),
                "machine": describe_machine(),
            },
        )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
