"""Hydra callback that keeps the record of a sweep while it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from dogbreed.config import objective_mode, objectives
from dogbreed.sweeps.record import sweep_table, write_sweep

log = logging.getLogger(__name__)


class SweepRecord(Callback):
    """Rewrite ``sweep.json`` after each trial; print the sorted table at the end."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take in one more trial, so that a killed sweep has a record of what it did."""
        if config.hydra.mode == RunMode.MULTIRUN:
            _write(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what the sweep has found."""
        sweep = _write(config)
        log.info("\n%s\n\nsweep   %s", sweep_table(sweep), Path(config.hydra.sweep.dir) / "sweep.json")


def _write(config: DictConfig) -> dict[str, Any]:
    return write_sweep(
        Path(config.hydra.sweep.dir),
        engine=str(config.hydra.runtime.choices["hydra/sweeper"]),
        search_space=list(config.hydra.overrides.task),
        objectives=objectives(config),
        mode=objective_mode(config),
    )
