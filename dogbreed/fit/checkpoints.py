"""Checkpoints: when a run is saved, what of it, and how it goes on exactly where it was.

A checkpoint is made at one of two points, which Lightning restores differently: at the
end of an epoch, after validation, or within one, after an optimiser step.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from dogbreed.datamodule import ImageDataModule
from dogbreed.distributed import any_rank, from_all, world
from dogbreed.errors import UserError
from dogbreed.fit.checkpoint_file import RUN_KEY
from dogbreed.fit.stop import StopSignals
from dogbreed.run_files import BEST, LAST


class Checkpoints(Checkpoint):
    """Keep ``best.ckpt`` and ``last.ckpt``: at the end of each epoch, by time, and when a signal came.

    It comes after all other callbacks, whose states are in its files, and puts back
    all random states when a run goes on.

    Args:
        folder: Where they go.
        objective: Metric that decides which is best; NaN never is.
        mode: ``max`` or ``min``.
        every_s: Longest time between two, >= 0; None for the ends of epochs only.
        stop: The signals; a stop is a checkpoint, then KeyboardInterrupt.
        fingerprint: What the run is, for the one that wants to go on with it.
        num_passes: In how many of the loader's batches a batch of ``data.batch_size`` comes, >= 1.
        most_share: Leave the last one out at the end of an epoch that is not the last while saving would take more than
            this share of the time, above 0; None never does.
    """

    def __init__(
        self,
        folder: Path,
        objective: str,
        mode: str,
        *,
        every_s: float | None = None,
        stop: StopSignals | None = None,
        fingerprint: tuple[str, str] | None = None,
        num_passes: int = 1,
        most_share: float | None = None,
    ) -> None:
        self.best = folder / BEST
        self.last = folder / LAST
        self.best_epoch: int | None = None
        self.earlier_s = 0.0  # seconds that earlier calls have spent on this run
        self._best_value: float | None = None
        self._latest_value: float | None = None
        self._objective = objective
        self._sign = 1.0 if mode == "max" else -1.0
        self._every_s = every_s
        self._stop = stop or StopSignals()
        self._fingerprint = list(fingerprint or ())
        self._num_passes = num_passes
        self._most_share = most_share
        self._save_s = 0.0  # seconds that saving has taken at last
        self._started_s = self._saved_s = time.monotonic()
        self._position: dict[str, Any] | None = None
        self._random_states: dict[str, Any] = {}

    # -- when ----------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put back what chance depends on, as the last thing before the first step."""
        if self._random_states:
            _set_random_states(self._random_states, pl_module.device)
            self._random_states = {}
        loops = trainer.fit_loop.epoch_loop
        if loops.batch_progress.current.ready == 0:
            loops.restarting = False  # with max_steps Lightning takes the start of an epoch for the middle of one
        self._saved_s = time.monotonic()
        self._stop.defer()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time or a signal came, and the run can go on from here."""
        if not _can_go_on_from(trainer, batch_idx):
            return
        is_time = self._every_s is not None and time.monotonic() - self._saved_s >= self._every_s
        stops = self._stop.is_requested  # read once: a signal between the two questions would stop without saving
        if _any_rank(trainer, stops or is_time, within_epoch=True):
            self._save(trainer, self.last, batch=(batch_idx + 1) // self._num_passes)
        if _any_rank(trainer, stops, within_epoch=True):
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the objective's value for the end of the epoch, which may come after a break."""
        value = trainer.callback_metrics.get(self._objective)
        self._latest_value = None if value is None else float(value)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the epoch, first as the best if it is: a best one too new does no harm, one too old does."""
        value, self._latest_value = self._latest_value, None
        if value is not None and self._is_better(value):
            self._best_value, self.best_epoch = value, trainer.current_epoch
            self._save(trainer, self.best, batch=0)
        stops = _any_rank(trainer, self._stop.is_requested)
        saves = stops or _is_finished(trainer) or not _any_rank(trainer, self._costs_too_much())
        if saves:
            self._save(trainer, self.last, batch=0)
        if stops or (saves and _any_rank(trainer, self._stop.is_requested)):
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on a signal finds nothing that it would have to wait for."""
        self._stop.interrupt()

    def _costs_too_much(self) -> bool:
        return self._most_share is not None and self._save_s > self._most_share * (time.monotonic() - self._saved_s)

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        return self._best_value is None or self._sign * value > self._sign * self._best_value

    # -- what ----------------------------------------------------------------

    def _save(self, trainer: L.Trainer, path: Path, batch: int) -> None:
        """Save after so many batches of the epoch; 0 after its end."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._position = {
            "epoch": trainer.current_epoch + (batch == 0),
            "batch": batch,
            "num_epochs": trainer.max_epochs,
            "num_batches": trainer.num_training_batches // self._num_passes,
            "is_finished": batch == 0 and _is_finished(trainer),
        }
        begun_s = time.monotonic()
        trainer.save_checkpoint(path)
        self._position = None
        self._saved_s = time.monotonic()
        self._save_s = self._saved_s - begun_s

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what the run is, where it stands and what chance depends on."""
        if self._position is None:
            return  # somebody else's checkpoint
        checkpoint[RUN_KEY] = {
            "fingerprint": self._fingerprint,
            "num_ranks": world().num_ranks,
            "seed": getattr(trainer.datamodule, "seed", None),  # type: ignore[attr-defined]
            "seconds": self.earlier_s + time.monotonic() - self._started_s,
            **self._position,
        }
        checkpoint["random_states"] = from_all(_random_states(pl_module.device))
        if self._position["batch"] == 0:
            _set_to_epoch_start(checkpoint["loops"]["fit_loop"], self._position["epoch"])

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up a run where it was."""
        run = checkpoint.get(RUN_KEY, {})
        if run and run["num_ranks"] != world().num_ranks:
            msg = (
                f"{self.last} was written by {run['num_ranks']} processes, and these are {world().num_ranks}: set "
                "trainer.devices as it was, or start anew with resume=never."
            )
            raise UserError(msg)
        self.earlier_s = run.get("seconds", 0.0)
        self._random_states = checkpoint["random_states"][world().rank] if run else {}
        trainer.should_stop = run.get("is_finished", False)
        data = getattr(trainer, "datamodule", None)
        if run and isinstance(data, ImageDataModule):
            data.seed = run["seed"]  # seed=null has drawn another one
            data.start_at(run["epoch"], run["batch"])

    def state_dict(self) -> dict[str, Any]:
        """Keep which one is best; not where it is, for folders move."""
        return {"best_value": self._best_value, "best_epoch": self.best_epoch, "latest_value": self._latest_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know which one is best."""
        self._best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]
        self._latest_value = state_dict["latest_value"]


def _can_go_on_from(trainer: L.Trainer, batch_idx: int) -> bool:
    """Say whether a run can go on exactly after a batch: between two steps, and with no validation to come first."""
    is_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    seen = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    every = trainer.val_check_batch
    is_validated_next = every is not None and (seen + 1) % every == 0
    # Lightning puts another sampler in place of ours for overfit_batches.
    has_our_order = not trainer.overfit_batches  # type: ignore[attr-defined]
    return is_step and has_our_order and not is_validated_next and not trainer.is_last_batch


def _is_finished(trainer: L.Trainer) -> bool:
    is_over = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs > 0
    return trainer.should_stop or is_over or 0 <= trainer.max_steps <= trainer.global_step


def _any_rank(trainer: L.Trainer, wish: bool, *, within_epoch: bool = False) -> bool:  # noqa: FBT001 -- a state
    """Have all processes decide alike; within an epoch they talk only as often as is logged."""
    if trainer.world_size == 1:
        return wish
    if within_epoch and trainer.global_step % max(1, trainer.log_every_n_steps):  # type: ignore[attr-defined]
        return False
    return any_rank(wish)


def _set_to_epoch_start(loops: dict[str, Any], num_epochs: int) -> None:
    """Have loops begin an epoch; as Lightning saves them they are still in the end of the one before."""
    done = dict.fromkeys(("ready", "started", "processed", "completed"), num_epochs)
    loops["epoch_progress"] = {"total": done, "current": dict(done)}
    batches = loops["epoch_loop.batch_progress"]
    loops["epoch_loop.batch_progress"] = {**batches, "current": dict.fromkeys(done, 0), "is_last_batch": False}


def _random_states(device: torch.device) -> dict[str, Any]:
    """Return all that chance depends on, in types that load with ``weights_only=True``."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 -- other people's code draws from it
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
