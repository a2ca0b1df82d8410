"""What watches a run, in the order in which it must."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from dogbreed.distributed import world
from dogbreed.fit.board import SampleImages
from dogbreed.fit.checkpoints import Checkpoints
from dogbreed.fit.guard import LossGuard
from dogbreed.fit.record import EpochRecord, RunProgress


def build_callbacks(guard: LossGuard, record: EpochRecord, checkpoints: Checkpoints) -> list[Callback]:
    """Put together what watches a run; the user's own callbacks come in before the checkpoints.

    Args:
        guard: Stops a run that diverges, before anyone takes down its numbers.
        record: Rows of ``metrics.csv``, before the progress that reads it.
        checkpoints: What is kept, with the states of all others in it.

    Returns:
        Callbacks for a Trainer.
    """
    return [EarlyWorkers(), guard, record, RunProgress(record), SampleImages(), checkpoints]


class EarlyWorkers(Callback):
    """Start validation's loader processes before training fills the memory.

    A process that is forked later shares all of it, and each page that training then writes to is copied once.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start them; they wait, and keep their first batches ready."""
        loader = trainer.val_dataloaders
        if isinstance(loader, DataLoader) and loader.persistent_workers:
            iter(loader)


class OwnRandomness(Callback):
    """Give each rank a random stream of its own: dropout must not drop the same features on all of them.

    Lightning seeds the ranks alike when it connects them, so this comes after.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed."""
        torch.manual_seed(torch.initial_seed() + world().rank)
