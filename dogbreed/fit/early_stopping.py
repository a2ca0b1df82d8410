"""Stop a run that no longer gets better, and say so."""

from __future__ import annotations

import logging

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

from dogbreed.errors import UserError

log = logging.getLogger(__name__)


class EarlyStopping(LightningEarlyStopping):
    """Lightning's callback with a word at the end.

    Args:
        monitor: Metric to go by, ``val/…``.
        patience: Validations without a better value, >= 1.
        min_delta: The least that is an improvement, >= 0.
        mode: ``max`` or ``min``.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(self, monitor: str, patience: int = 3, min_delta: float = 0.0, mode: str = "max") -> None:
        if patience < 1 or min_delta < 0:
            msg = (
                f"early_stopping.patience={patience} must be at least 1 and early_stopping.min_delta={min_delta} "
                "at least 0."
            )
            raise UserError(msg)
        super().__init__(monitor, min_delta, patience, mode=mode, check_finite=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say that, and why, the run has ended early."""
        super().on_train_end(trainer, pl_module)
        if self.wait_count >= self.patience:
            log.info("stopped after epoch %d: %s got no better for %d validations",
                     self.stopped_epoch + 1, self.monitor, self.patience)  # fmt: skip
