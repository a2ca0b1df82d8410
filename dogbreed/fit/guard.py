"""Stop a run whose loss is no number any more, and say where it began.

Shape legend: B batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dogbreed.data.dataset import Batch
from dogbreed.datamodule import ImageDataModule
from dogbreed.errors import LostError, shorten

# A rate so many times the one that `auto` means is the first to suspect.
FAR_ABOVE = 3.0


@dataclass(frozen=True)
class Suspects:
    """What may have driven a loss out of bounds.

    Args:
        lr: Peak learning rate.
        auto_lr: What ``optim.lr=auto`` would be; None where there is no such value.
        precision: ``trainer.precision``.
        weights: ``model.weights``, if a file was given.
    """

    lr: float
    auto_lr: float | None
    precision: str
    weights: str | None = None

    def cause(self, step: int) -> str:
        """Name the likely cause and what to change, for a loss that went wrong in a step counted from 0."""
        if step == 0:
            origin = f"the weights of model.weights={self.weights}" if self.weights else "the weights"
            return (
                f"nothing was learned yet, so {origin} or the numbers of model.preprocessing are damaged; "
                "try others, or trainer.precision=32-true"
            )
        if self.auto_lr and self.lr > FAR_ABOVE * self.auto_lr:
            return f"optim.lr={self.lr:g} is far above what fits here; try optim.lr={self.auto_lr:g}"
        if self.precision.startswith("16"):
            return (
                f"trainer.precision={self.precision} cannot hold large numbers; try trainer.precision=bf16-mixed "
                "or 32-true"
            )
        return (
            f"the learning rate is too high for these pictures; try optim.lr={self.lr / 10:g} or "
            "trainer.gradient_clip_val=1.0"
        )


class LossGuard(Callback):
    """Watch the training loss without making the host wait for the device in every step.

    Losses and indices stay where they are until they are looked at: every so many
    steps, at the end of an epoch, and before any checkpoint is written, which so never
    holds weights that are no numbers.

    Args:
        suspects: For the sentence.
        every_n_steps: How often to look on a device of its own; on the CPU looking costs nothing.
    """

    def __init__(self, suspects: Suspects, every_n_steps: int) -> None:
        self._suspects = suspects
        self._every_n_steps = max(1, every_n_steps)
        self._unseen: list[tuple[int, int, Tensor, Tensor | None]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step's loss; look at those noted when it is time."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            indices_B = batch.indices if isinstance(batch, Batch) else None
            # Counted from 0; where the batch was its step's last, the step is counted already.
            is_stepped = trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
            self._unseen.append((trainer.global_step - is_stepped, batch_idx, loss.detach(), indices_B))
        every = 1 if pl_module.device.type == "cpu" else self._every_n_steps
        if len(self._unseen) >= every or trainer.is_last_batch:
            self.check(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let no weights into a checkpoint that are no numbers; a step may spoil them after a loss that was one."""
        self.check(trainer)
        weights = [tensor for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point()]
        if not torch.stack([tensor.isfinite().all() for tensor in weights]).all():
            msg = (
                f"The weights are no numbers any more after step {trainer.global_step} (epoch "
                f"{trainer.current_epoch + 1}): {self._suspects.cause(trainer.global_step)}. Checkpoints from before "
                "are kept."
            )
            raise LostError(msg)

    def check(self, trainer: L.Trainer) -> None:
        """Look at the losses since the last look.

        Raises:
            LostError: one of them is not finite.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        losses = torch.stack([loss.float() for _, _, loss, _ in unseen]).tolist()
        for value, (step, batch, _, indices_B) in zip(losses, unseen, strict=True):
            if not math.isfinite(value):
                files = self._files(trainer, indices_B)
                msg = (
                    f"The loss is {value} in step {step + 1} (epoch {trainer.current_epoch + 1}, batch {batch + 1}): "
                    f"{self._suspects.cause(step)}. {files}Checkpoints from before are kept."
                )
                raise LostError(msg)

    @staticmethod
    def _files(trainer: L.Trainer, indices_B: Tensor | None) -> str:
        data = getattr(trainer, "datamodule", None)
        if indices_B is None or not isinstance(data, ImageDataModule):
            return ""
        paths = data.index.split("train").paths
        return f"Its pictures: {shorten([paths[index] for index in indices_B.tolist()])}. "
