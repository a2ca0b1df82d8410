"""Hydra callback that keeps the record of a sweep while it runs, and finished work from being written over."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from dogbreed.command import RefusedError
from dogbreed.config import literal_folder, objective_mode, objectives
from dogbreed.distributed import is_main
from dogbreed.files import read_json
from dogbreed.run_files import RUN_JSON, SWEEP_JSON
from dogbreed.sweeps.record import sweep_table, write_sweep

log = logging.getLogger(__name__)


class SweepRecord(Callback):
    """Rewrite ``sweep.json`` after each trial; print the sorted table at the end.

    A folder that holds a finished run or a sweep is refused before Hydra writes
    into it: new overrides beside old metrics would tell a wrong story.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of a finished run, and a launcher, which Hydra would leave aside without a word."""
        launcher = str(config.hydra.runtime.choices["hydra/launcher"])
        if launcher != "basic":
            msg = f"hydra/launcher={launcher} is for the jobs of a sweep, and this is a single run: add -m."
            raise RefusedError(msg)
        folder = literal_folder(config.hydra.run)
        if folder and read_json(folder / RUN_JSON).get("state") == "completed":
            msg = f"{folder} holds a finished run: choose another folder (hydra.run.dir=DIR) or delete this one."
            raise RefusedError(msg)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of another sweep."""
        folder = literal_folder(config.hydra.sweep)
        if folder and (folder / SWEEP_JSON).exists():
            msg = f"{folder} holds a sweep: choose another folder (hydra.sweep.dir=DIR) or delete this one."
            raise RefusedError(msg)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take in one more trial, so that a killed sweep has a record of what it did."""
        if config.hydra.mode == RunMode.MULTIRUN and is_main():
            _write(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what the sweep has found.

        Raises:
            RefusedError: it has found nothing.
        """
        if not is_main():
            return
        sweep = _write(config)
        folder = Path(config.hydra.sweep.dir)
        log.info("\n%s\n\nsweep   %s", sweep_table(sweep), folder / SWEEP_JSON)
        if config.report:
            from dogbreed.reporting import write_aside, write_comparison

            page = write_aside(lambda sweep_dir: write_comparison([sweep_dir]), folder)
            if page:
                log.info("report  %s", page)
        # Trials that ran elsewhere have told nobody else.
        if sweep["trials"] and all(trial["state"] == "failed" for trial in sweep["trials"]):
            msg = f"None of the {len(sweep['trials'])} trials finished; each one's error is above and in sweep.json."
            raise RefusedError(msg)


def _write(config: DictConfig) -> dict[str, Any]:
    return write_sweep(
        Path(config.hydra.sweep.dir),
        engine=str(config.hydra.runtime.choices["hydra/sweeper"]),
        search_space=list(config.hydra.overrides.task),
        objectives=objectives(config),
        mode=objective_mode(config),
    )
