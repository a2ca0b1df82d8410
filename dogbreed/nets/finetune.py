"""What trains, and what stays as it was: freezing, BatchNorm statistics, phases."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dogbreed.errors import UserError
from dogbreed.nets.backbone import head_modules

MODES = ("head", "full", "head_then_full")

# What suits weights that have learned something, and weights that have not.
PRETRAINED_DEFAULTS = {"backbone_lr_scale": 0.1, "batchnorm": "frozen"}
SCRATCH_DEFAULTS = {"backbone_lr_scale": 1.0, "batchnorm": "train"}


@dataclass(frozen=True)
class FinetuneSettings:
    """Which parts of a network train, when and how fast.

    Args:
        mode: ``head``: the last layer only. ``full``: everything.
            ``head_then_full``: the last layer for ``head_epochs``, then everything
            (Howard & Ruder, "Universal language model fine-tuning", 2018).
        head_epochs: Length of the first phase of ``head_then_full`` in epochs, >= 1.
        backbone_lr_scale: Learning rate of the backbone as a share of the head's, 0 < s <= 1.
        batchnorm: ``frozen`` keeps the running statistics that the weights came
            with; ``train`` lets them follow the new data. A frozen backbone's
            statistics are always kept.

    Raises:
        UserError: a value is unknown or out of range.
    """

    mode: str = "full"
    head_epochs: int = 1
    backbone_lr_scale: float = 0.1
    batchnorm: str = "frozen"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            msg = f"finetune.mode={self.mode} is unknown; valid: {', '.join(MODES)}."
            raise UserError(msg)
        if self.head_epochs < 1:
            msg = f"finetune.head_epochs={self.head_epochs} must be at least 1; finetune=full has no head phase."
            raise UserError(msg)
        if not 0 < self.backbone_lr_scale <= 1:
            msg = f"finetune.backbone_lr_scale={self.backbone_lr_scale} must be above 0 and at most 1."
            raise UserError(msg)
        if self.batchnorm not in ("train", "frozen"):
            msg = f"finetune.batchnorm={self.batchnorm} is unknown; use train or frozen."
            raise UserError(msg)

    def trains_backbone(self, epoch: int) -> bool:
        """Say whether the backbone trains in an epoch, counted from 0."""
        return self.mode == "full" or (self.mode == "head_then_full" and epoch >= self.head_epochs)

    def keeps_statistics(self, epoch: int) -> bool:
        """Say whether running statistics stay as they are in an epoch, counted from 0."""
        return self.batchnorm == "frozen" or not self.trains_backbone(epoch)


def set_backbone_trainable(net: nn.Module, trainable: bool) -> None:  # noqa: FBT001 -- a state, set from a condition
    """Let gradients reach the backbone or not, in place; the head always trains."""
    net.requires_grad_(trainable)
    for module in head_modules(net):
        module.requires_grad_(True)


def hold_statistics(net: nn.Module) -> None:
    """Put every layer with running statistics into evaluation mode, in place.

    Only those: dropout before the head must go on dropping.
    """
    for module in net.modules():
        if isinstance(module, _NormBase):
            module.eval()


def running_statistics(net: nn.Module) -> list[Tensor]:
    """Return the floating-point running statistics of a network's normalising layers."""
    layers = [module for module in net.modules() if isinstance(module, _NormBase)]
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False) if buffer.is_floating_point()]
