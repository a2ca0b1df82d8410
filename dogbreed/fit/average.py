"""A running average of the weights, which is what is validated and kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from dogbreed.classifier import ImageClassifier
from dogbreed.distributed import average_over_ranks_, from_all, world
from dogbreed.errors import UserError
from dogbreed.nets.finetune import running_statistics


class WeightAverage(Callback):
    """Keep an exponential moving average of the network's weights (Polyak & Juditsky, 1992).

    The decay follows the length of the run: with N steps and horizon h it is
    exp(-1 / (h N)), and in the beginning no larger than (1 + n) / (10 + n) after n
    steps, so that a run of a few hundred steps does not end with an average of its start.

    Validation, checkpoints and the model folder see the average; training goes on
    from the weights themselves, which a checkpoint keeps beside it.

    Args:
        horizon: Length of the average as a share of all optimiser steps, 0 < h < 1.

    Raises:
        UserError: the horizon is out of range.

    Cost:
        One pass over the weights a step, and their size in memory.
    """

    def __init__(self, horizon: float = 0.05) -> None:
        if not 0 < horizon < 1:
            msg = f"ema.horizon={horizon} must be above 0 and below 1."
            raise UserError(msg)
        self._horizon = horizon
        self._num_updates = 0
        self._average: nn.Module | None = None
        self._kept: list[Tensor] = []

    def decay(self, total_steps: int) -> float:
        """Return what is kept of the average in the next step, 0..1."""
        return min(math.exp(-1 / (self._horizon * total_steps)), (1 + self._num_updates) / (10 + self._num_updates))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin with the weights as they are, or with what a checkpoint has brought."""
        self._average = (self._average or _copy_of(pl_module)).to(pl_module.device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the step, if the optimiser has made one."""
        if trainer.global_step <= self._num_updates:  # gradients are still being accumulated
            return
        average, net = self._pair(pl_module)
        total_steps = max(1, int(trainer.estimated_stepping_batches))
        self._num_updates = trainer.global_step
        update_average(average, net, self.decay(total_steps))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average in the place of the weights; its running statistics are made those of all ranks."""
        if self._average is None:  # validation without training
            return
        average, net = self._pair(pl_module)
        average_over_ranks_(running_statistics(average))
        self._kept = [tensor.clone() for tensor in net.state_dict().values()]
        _copy_into(net, average.state_dict().values())

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back."""
        if self._kept:
            _copy_into(self._pair(pl_module)[1], self._kept)
            self._kept = []

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the network, and the weights that training goes on from beside it."""
        average, _ = self._pair(pl_module)
        state: dict[str, Tensor] = checkpoint["state_dict"]
        theirs = {f"net.{name}": tensor for name, tensor in average.state_dict().items()}
        checkpoint["training_state_dict"] = {name: state[name] for name in theirs}
        checkpoint["average_num_updates"] = self._num_updates
        checkpoint["average_statistics"] = from_all([tensor.clone() for tensor in running_statistics(average)])
        state.update(theirs)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with average and weights as they were."""
        if "training_state_dict" not in checkpoint:
            return
        # Lightning has loaded the average already.
        self._average = _copy_of(pl_module)
        self._num_updates = checkpoint["average_num_updates"]
        for ours, saved in zip(
            running_statistics(self._average), checkpoint["average_statistics"][world().rank], strict=True
        ):
            ours.copy_(saved)
        pl_module.load_state_dict(checkpoint["training_state_dict"], strict=False)

    def _pair(self, pl_module: L.LightningModule) -> tuple[nn.Module, nn.Module]:
        assert isinstance(pl_module, ImageClassifier)
        assert self._average is not None
        return self._average, pl_module.net


@torch.no_grad()
def _copy_into(net: nn.Module, tensors: Iterable[Tensor]) -> None:
    for ours, theirs in zip(net.state_dict().values(), tensors, strict=True):
        ours.copy_(theirs)


def _copy_of(pl_module: L.LightningModule) -> nn.Module:
    assert isinstance(pl_module, ImageClassifier)
    average = copy.deepcopy(pl_module.net).requires_grad_(False).eval()
    # Small steps vanish in half precision.
    return average.float() if pl_module.dtype in (torch.bfloat16, torch.float16) else average


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move an average towards a network, in place: ``decay`` of the old, the rest of the new.

    Running statistics are averaged like weights; counters are copied.
    """
    old, new = average.state_dict(), net.state_dict()
    floats = [name for name, tensor in old.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([old[name] for name in floats], [new[name].to(old[name].dtype) for name in floats], 1 - decay)
    for name in old.keys() - set(floats):
        old[name].copy_(new[name])
