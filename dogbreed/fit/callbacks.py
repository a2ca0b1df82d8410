"""What watches a run, in the order in which it must."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from dogbreed.distributed import world
from dogbreed.fit.record import EpochRecord, RunProgress


def build_callbacks(
    checkpoints: Path, objective: str, mode: str, record: EpochRecord, more: Sequence[Callback] = ()
) -> list[Callback]:
    """Put together what watches a run.

    Args:
        checkpoints: Folder for ``best.ckpt`` and ``last.ckpt``.
        objective: Metric that decides which checkpoint is best.
        mode: ``max`` or ``min``.
        record: Rows of ``metrics.csv``.
        more: The user's own callbacks.

    Returns:
        Callbacks for a Trainer, the record before the progress that reads it.
    """
    best = ModelCheckpoint(checkpoints, "best", monitor=objective, mode=mode, enable_version_counter=False)
    # Not save_last=True of the first: that saves only together with a new best.
    last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)
    return [record, RunProgress(record), best, last, *more]


class OwnRandomness(Callback):
    """Give each rank a random stream of its own: dropout must not drop the same features on all of them.

    Lightning seeds the ranks alike when it connects them, so this comes after.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed."""
        torch.manual_seed(torch.initial_seed() + world().rank)
