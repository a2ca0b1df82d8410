"""Hydra callback that keeps the record of a sweep while it runs, and finished work from being written over."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dogbreed.command import RefusedError
from dogbreed.config import literal_folder, objective_modes, objectives
from dogbreed.distributed import is_main
from dogbreed.errors import UserError
from dogbreed.files import read_json
from dogbreed.run_files import FINISHED_STATES, RUN_JSON
from dogbreed.sweeps.live import hush_job
from dogbreed.sweeps.record import COMPLETED, INTERRUPTED, RUNNING, search_params, write_sweep
from dogbreed.sweeps.resume import check_single_run, choose_sweep_folder
from dogbreed.sweeps.search_folder import is_worker, read_search
from dogbreed.sweeps.table import sweep_summary

log = logging.getLogger(__name__)

# Of the time between two pages of a sweep that goes on, so much at most is for writing them.
PAGE_SHARE = 0.01

_open_sweeps: list[DictConfig] = []


class SweepRecord(Callback):
    """Rewrite ``sweep.json`` after each trial, and now and then its page; print the sorted table at the end.

    A folder that holds a finished run or a sweep is refused before Hydra writes
    into it: new overrides beside old metrics would tell a wrong story.
    """

    def __init__(self) -> None:
        self._next_page_at = 0.0

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of a finished run, and a launcher or a search, of which Hydra would say nothing."""
        try:
            check_single_run(config)
        except UserError as error:
            raise RefusedError(str(error)) from error
        launcher = str(config.hydra.runtime.choices["hydra/launcher"])
        if launcher != "basic":
            msg = f"hydra/launcher={launcher} is for the jobs of a sweep, and this is a single run: add -m."
            raise RefusedError(msg)
        folder = literal_folder(config.hydra.run)
        if folder and read_json(folder / RUN_JSON).get("state") in FINISHED_STATES:
            msg = f"{folder} holds a finished run: choose another folder (hydra.run.dir=DIR) or delete this one."
            raise RefusedError(msg)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Choose the folder: that of a search that goes on, or another one than that of another sweep."""
        if not _keeps_record():
            return
        try:
            choose_sweep_folder(config)
        except UserError as error:
            raise RefusedError(str(error)) from error
        _open_sweeps[:] = [config]

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the lines of a trial from the screen where a live table stands for them."""
        hush_job()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take in one more trial, so that a killed sweep has a record of what it did."""
        if config.hydra.mode == RunMode.MULTIRUN and _keeps_record():
            _write(config, RUNNING)
            self._write_page_at_times(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what the sweep has found.

        Raises:
            RefusedError: it has found nothing.
        """
        if not _keeps_record():
            return
        _open_sweeps.clear()
        sweep = _write(config, COMPLETED, with_importance=True)
        folder = Path(config.hydra.sweep.dir)
        log.info("\n%s", sweep_summary(sweep, folder, _write_page(config, folder)))
        # Trials that ran elsewhere have told nobody else.
        if sweep["trials"] and all(trial["state"] == "failed" for trial in sweep["trials"]):
            msg = f"None of the {len(sweep['trials'])} trials finished; each one's error is above and in sweep.json."
            raise RefusedError(msg)

    def _write_page_at_times(self, config: DictConfig) -> None:
        """Write the page of a sweep that goes on, which loads itself anew, as often as that costs next to nothing."""
        if time.monotonic() < self._next_page_at:
            return
        started = time.monotonic()
        _write_page(config, Path(config.hydra.sweep.dir))
        self._next_page_at = time.monotonic() + (time.monotonic() - started) / PAGE_SHARE


def note_progress(config: DictConfig, elsewhere: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Take in what others have done for the sweep of this process, if it keeps a record.

    Args:
        config: Of the sweep.
        elsewhere: Trials whose folders are not here, as `dogbreed.sweeps.record.write_sweep` takes them.
    """
    if _open_sweeps:
        _write(config, RUNNING, elsewhere=elsewhere)


def note_interruption() -> None:
    """Record that the sweep of this process has not come to its end, if there is one: Hydra tells callbacks nothing."""
    while _open_sweeps:
        config = _open_sweeps.pop()
        if Path(config.hydra.sweep.dir).is_dir():  # else it had not begun
            _write(config, INTERRUPTED)


def _keeps_record() -> bool:
    return is_main() and not is_worker()


def _write_page(config: DictConfig, folder: Path) -> Path | None:
    if not config.report:
        return None
    from dogbreed.reporting import write_aside, write_sweep_page

    return write_aside(write_sweep_page, folder)


def _write(
    config: DictConfig,
    state: str,
    *,
    with_importance: bool = False,
    elsewhere: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    overrides = list(config.hydra.overrides.task)
    sweeper = config.hydra.sweeper
    engine, params = str(config.hydra.runtime.choices["hydra/sweeper"]), None
    if "engine" in sweeper and isinstance(sweeper.get("params"), Mapping | DictConfig):  # ours
        engine = str(sweeper.engine)
        named = OmegaConf.to_container(sweeper.params)
        assert isinstance(named, dict)
        params = search_params({str(key): str(text) for key, text in named.items()}, overrides)
    return write_sweep(
        Path(config.hydra.sweep.dir),
        engine=engine,
        search_space=overrides,
        objectives=objectives(config),
        modes=objective_modes(config),
        params=params,
        state=state,
        search_hash=read_search(Path(config.hydra.sweep.dir)).get("hash"),
        trials_elsewhere=elsewhere,
        with_importance=with_importance,
    )
