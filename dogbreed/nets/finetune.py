"""What trains, and what stays as it was: freezing, BatchNorm statistics, phases."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dogbreed.errors import UserError
from dogbreed.nets.backbone import head_modules

MODES = ("head", "full", "head_then_full", "layer_decay", "discriminative")

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
            ``layer_decay``: everything, each layer slower than the one above it by the
            factor ``layer_decay`` (Clark et al., "ELECTRA", 2020).
            ``discriminative``: as ``head_then_full``, then the upper half of the backbone
            at ``backbone_lr_scale`` and the lower half at its square, as fastai's
            ``fine_tune`` (Howard & Gugger, "fastai: a layered API", 2020).
        head_epochs: Epochs in which only the last layer trains, in the modes that begin so, >= 1.
        backbone_lr_scale: Learning rate of the backbone's last layer as a share of the head's, 0 < s <= 1.
        layer_decay: Factor from one layer of the backbone to the next lower one, 0 < d <= 1.
        batchnorm: ``frozen`` keeps the running statistics that the weights came
            with; ``train`` lets them follow the new data. A frozen backbone's
            statistics are always kept.

    Raises:
        UserError: a value is unknown or out of range.
    """

    mode: str = "full"
    head_epochs: int = 1
    backbone_lr_scale: float = 0.1
    layer_decay: float = 0.8
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
        if not 0 < self.layer_decay <= 1:
            msg = f"finetune.layer_decay={self.layer_decay} must be above 0 and at most 1."
            raise UserError(msg)
        if self.batchnorm not in ("train", "frozen"):
            msg = f"finetune.batchnorm={self.batchnorm} is unknown; use train or frozen."
            raise UserError(msg)

    def describe(self) -> str:
        """Say in a few words what trains, and how fast."""
        scale = f"{self.backbone_lr_scale:g}"
        alone = f"{self.head_epochs} epoch{'s' * (self.head_epochs > 1)}"
        return {
            "head": "the last layer trains, the backbone stays as it came",
            "full": "everything trains at one rate"
            if self.backbone_lr_scale == 1
            else f"everything trains, the backbone at {scale} of the head's rate",
            "head_then_full": f"the last layer for {alone}, then everything, the backbone at {scale} "
            "of the head's rate",
            "layer_decay": f"everything trains, the backbone at {scale} of the head's rate, each lower layer at "
            f"{self.layer_decay:g} of the one above",
            "discriminative": f"the last layer for {alone}, then the upper half of the backbone at "
            f"{scale} and the lower half at {self.backbone_lr_scale**2:g} of the head's rate",
        }[self.mode]

    @property
    def begins_with_head(self) -> bool:
        """Say whether the head trains alone at first."""
        return self.mode in ("head_then_full", "discriminative")

    def trains_backbone(self, epoch: int) -> bool:
        """Say whether the backbone trains in an epoch, counted from 0."""
        return self.mode != "head" and (not self.begins_with_head or epoch >= self.head_epochs)

    def lr_scale(self, layer: int, num_layers: int) -> float:
        """Return a backbone layer's learning rate as a share of the head's.

        Args:
            layer: Position, from 0 at the input to ``num_layers - 1`` under the head.
            num_layers: Layers of the backbone, >= 1.

        Example:
            >>> [round(FinetuneSettings("layer_decay", layer_decay=0.5).lr_scale(i, 3), 4) for i in range(3)]
            [0.025, 0.05, 0.1]
            >>> [round(FinetuneSettings("discriminative").lr_scale(i, 4), 4) for i in range(4)]
            [0.01, 0.01, 0.1, 0.1]
        """
        if self.mode == "layer_decay":
            return self.backbone_lr_scale * self.layer_decay ** (num_layers - 1 - layer)
        if self.mode == "discriminative" and 2 * layer < num_layers:
            return self.backbone_lr_scale**2
        return self.backbone_lr_scale

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
