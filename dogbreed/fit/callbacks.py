"""What watches a run, in the order in which it must."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

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
    return [guard, record, RunProgress(record), SampleImages(), checkpoints]


class OwnRandomness(Callback):
    """Give each rank a random stream of its own: dropout must not drop the same features on all of them.

    Lightning seeds the ranks alike when it connects them, so this comes after.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed."""
        torch.manual_seed(torch.initial_seed() + world().rank)
