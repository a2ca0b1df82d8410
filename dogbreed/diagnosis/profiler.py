"""What each operator costs in some steps: a table, and a trace to look at."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile, schedule

from dogbreed.clock import PhaseClock
from dogbreed.distributed import is_main
from dogbreed.errors import UserError
from dogbreed.files import replacing, write_csv, write_json
from dogbreed.run_files import OPERATORS_CSV, TRACE, WINDOW_JSON

log = logging.getLogger(__name__)

# Kineto tells standard error when it starts and stops, and, as an error, that there is no GPU.
KINETO_SILENT = "6"


class Profiler(Callback):
    """Run torch's profiler over a window of steps, on the main rank.

    Writes ``operators.csv`` (a row an operator: calls, and the milliseconds that it alone took on the CPU and on the
    GPU), ``window.json`` (which steps these were) and a trace for Perfetto and Chrome's ``about:tracing``.

    Args:
        folder: Where they are written.
        start_step: First step, >= 1; the ones before warm up.
        num_steps: How many, >= 1.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, folder: Path, start_step: int = 10, num_steps: int = 10) -> None:
        for name, value in (("start_step", start_step), ("num_steps", num_steps)):
            if value < 1:
                msg = f"diagnose.profile_{name}={value} must be at least 1."
                raise UserError(msg)
        self._folder = folder
        self._start_step = start_step
        self._num_steps = num_steps
        self._profile: profile | None = None
        self._was_written = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count batches; those that accumulate gradients count as steps here."""
        if not is_main():
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", KINETO_SILENT)
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (pl_module.device.type == "cuda")
        before = self._start_step - 1
        warmup = min(before, 1)  # the first steps under a profiler are slow
        plan = schedule(wait=before - warmup, warmup=warmup, active=self._num_steps, repeat=1)
        self._profile = profile(activities=activities, schedule=plan, on_trace_ready=self._write)
        self._profile.start()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Have the phases named in the trace."""
        clock = trainer.profiler  # type: ignore[attr-defined]
        if isinstance(clock, PhaseClock):
            clock.annotates = self._profile is not None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        if self._profile:
            self._profile.step()
            if self._was_written:
                self._stop()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what there is of a window that the run has not filled."""
        self._stop()
        if is_main() and not self._was_written:
            log.warning("profile nothing was profiled: training ended before step %d; lower "
                        "diagnose.profile_start_step.", self._start_step)  # fmt: skip

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Let go of the profiler, which is the process's only one."""
        self._stop()

    def _stop(self) -> None:
        ended, self._profile = self._profile, None
        if ended:
            ended.stop()

    def _write(self, ended: profile) -> None:
        if self._was_written:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._folder / TRACE) as unfinished:
            named = unfinished.with_name(f"{unfinished.name}.json.gz")  # torch compresses by the name
            ended.export_chrome_trace(str(named))
            named.replace(unfinished)
        rows = [
            {
                "name": event.key,
                "calls": event.count,
                "cpu_ms": round(event.self_cpu_time_total / 1000, 3),
                "cpu_total_ms": round(event.cpu_time_total / 1000, 3),
                "gpu_ms": round(event.self_device_time_total / 1000, 3),
            }
            for event in ended.key_averages()
            if not event.key.startswith(("ProfilerStep", "dogbreed."))
        ]
        rows.sort(key=lambda row: -max(row["cpu_ms"], row["gpu_ms"]))
        write_csv(self._folder / OPERATORS_CSV, rows)
        window = {"first_step": self._start_step, "num_steps": self._num_steps, "torch": torch.__version__}
        write_json(self._folder / WINDOW_JSON, window)
        self._was_written = True
        log.info("profile steps %d to %d: %s", self._start_step, self._start_step + self._num_steps - 1, self._folder)
