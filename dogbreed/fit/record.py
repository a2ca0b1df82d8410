"""What tells people how a run goes on: a bar, a line and a row an epoch."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks.progress.progress_bar import ProgressBar
from tqdm import tqdm

from dogbreed.classifier import ImageClassifier
from dogbreed.clock import PhaseClock
from dogbreed.distributed import is_main
from dogbreed.files import write_csv
from dogbreed.machine import peak_memory_bytes
from dogbreed.nets.flops import peak_flops, training_flops

log = logging.getLogger(__name__)

LARGE_LOSS = 1e5


class EpochRecord(Callback):
    """Write a row an epoch: metrics, learning rates, speed; keep the sums for ``metrics.json``.

    Args:
        file: The CSV, rewritten whole after each epoch.
        batch_size: Pictures in a training batch, of all ranks together.
    """

    def __init__(self, file: Path, batch_size: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._file = file
        self._batch_size = batch_size
        self._train_s = self._wait_s = 0.0
        self._num_images = 0
        self._flops = self._flops_per_image = 0.0
        self._known_flops: dict[tuple[bool, ...], int] = {}
        self._counted_epoch: int | None = None
        self._peak_flops: float | None = None
        self._device = torch.device("cpu")
        self._clock: PhaseClock | None = None
        self._mark = self._waited_s = 0.0
        self._epoch = (0.0, 0.0, 0)
        self._is_validated = False

    @property
    def totals(self) -> dict[str, float]:
        """What training took: ``images_per_second``, ``data_wait_share`` (0..1), ``peak_memory_gb``.

        The share is the host's: on a GPU that still computes, its waiting costs nothing. The memory is the GPU's, or
        the process's where there is none. ``flop_utilization`` (0..1) is there on GPUs whose peak is known.
        """
        seconds = max(self._train_s, 1e-9)
        totals = {
            "images_per_second": self._num_images / seconds,
            "data_wait_share": self._wait_s / seconds,
            "peak_memory_gb": peak_memory_bytes(self._device) / 1e9,
        }
        if self._peak_flops and self._flops:
            totals["flop_utilization"] = self._flops / seconds / self._peak_flops
        return totals

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; a run that goes on within an epoch does not come by its start."""
        self._clock = PhaseClock.of(trainer, pl_module.device)
        self._device = pl_module.device
        self._peak_flops = peak_flops(pl_module.device, str(trainer.precision))
        self._mark = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note where the epoch begins."""
        self._is_validated = False
        self._mark = time.perf_counter()
        self._epoch = (self._train_s, self._wait_s, self._num_images)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count what was waited for the batch."""
        assert self._clock
        self._wait_s += self._clock.waited_s - self._waited_s
        self._waited_s = self._clock.waited_s
        if self._peak_flops and self._counted_epoch != trainer.current_epoch:
            self._counted_epoch = trainer.current_epoch
            self._count_time()
            self._flops_per_image = self._flops_of_rank(trainer, pl_module)
            self._mark = time.perf_counter()

    def _flops_of_rank(self, trainer: L.Trainer, pl_module: L.LightningModule) -> float:
        """Count what one of the ranks computes for a picture, now that the epoch's phase has been entered."""
        has_features = getattr(getattr(trainer, "datamodule", None), "features", None)
        if not isinstance(pl_module, ImageClassifier) or has_features:
            return 0.0
        phase = tuple(parameter.requires_grad for parameter in pl_module.net.parameters())
        if phase not in self._known_flops:
            self._known_flops[phase] = training_flops(pl_module.net, pl_module.preprocessing.input_size_px)
        return self._known_flops[phase] / trainer.world_size

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; the epoch's last one waits for the device, so that the epoch's time is whole."""
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._count_time()
        self._num_images += self._batch_size
        self._flops += self._batch_size * self._flops_per_image

    def _count_time(self) -> None:
        now = time.perf_counter()
        self._train_s += now - self._mark
        self._mark = now

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen no more."""
        if self._clock:
            self._clock.leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Listen no more: a profiler of the user's has something to say of a run that fails, too."""
        if self._clock:
            self._clock.leave()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that this epoch has validation metrics of its own."""
        self._is_validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's row."""
        assert isinstance(pl_module, ImageClassifier)
        train_s, wait_s, num_images = (
            now - before
            for now, before in zip((self._train_s, self._wait_s, self._num_images), self._epoch, strict=True)
        )
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        measured = {"train": pl_module.train_metrics}
        if self._is_validated:
            measured["val"] = pl_module.val_metrics
        for split, metrics in measured.items():
            row |= {f"{split}/{name}": round(value, 6) for name, value in metrics.compute().items()}
        groups = trainer.optimizers[0].param_groups
        row |= {f"lr/{group['name']}": group["lr"] for group in groups if not group["name"].endswith("_no_decay")}
        row |= {
            "seconds": round(train_s, 3),
            "images_per_second": round(num_images / max(train_s, 1e-9), 2),
            "data_wait_share": round(wait_s / max(train_s, 1e-9), 4),
        }
        self.rows.append(row)
        if is_main():
            write_csv(self._file, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Keep rows and sums in checkpoints, so that a resumed run's files are whole."""
        return {
            "rows": self.rows,
            "sums": (self._train_s, self._wait_s, self._num_images, self._flops),
            "epoch": self._epoch,
            "is_validated": self._is_validated,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; it may have come to a folder that has no rows yet."""
        self.rows = list(state_dict["rows"])
        if self.rows and is_main():
            write_csv(self._file, self.rows)
        self._train_s, self._wait_s, self._num_images, self._flops = state_dict["sums"]
        self._epoch = state_dict["epoch"]
        self._is_validated = state_dict["is_validated"]


class RunProgress(ProgressBar):
    """One bar for the run on terminals, and a line for each epoch everywhere."""

    def __init__(self, record: EpochRecord) -> None:
        super().__init__()
        self._record = record
        self._bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Show nothing."""
        self._bar = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        total = trainer.num_training_batches * (trainer.max_epochs or 1)
        done = trainer.fit_loop.total_batch_idx + 1
        disable = None if is_main() else True
        self._bar = tqdm(total=total, initial=done, unit="step", disable=disable, leave=False, dynamic_ncols=True)

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Name the epoch."""
        if self._bar is not None:
            self._bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the bar; it never reads a tensor, which would make the host wait."""
        if self._bar is not None:
            self._bar.update()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's line."""
        row = self._record.rows[-1]
        width = len(str(trainer.max_epochs))
        log.info(
            "epoch %*d/%d   train loss %s top1 %.3f   val loss %s top1 %.3f   %.1f s   %.0f images/s",
            width,
            row["epoch"],
            trainer.max_epochs,
            _loss(row["train/loss"]),
            row["train/acc_top1"],
            _loss(row.get("val/loss", math.nan)),
            row.get("val/acc_top1", math.nan),
            row["seconds"],
            row["images_per_second"],
        )

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Close the bar, so that an error is not printed into it."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _loss(value: float) -> str:
    """Write a loss; one that has exploded without its twenty digits."""
    return f"{value:.3g}" if abs(value) >= LARGE_LOSS else f"{value:.3f}"
