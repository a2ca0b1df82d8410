"""A network for answering alone: its BatchNorm layers multiplied into the convolutions before them, for good."""

from __future__ import annotations

import copy

import torch
from torch import nn

from dogbreed.nets.folding import FoldedBatchNormAct2d, FoldingConv2d, folded_weights


@torch.no_grad()
def fuse(net: nn.Module) -> nn.Module:
    """Return a copy that cannot be trained: plain convolutions, and no BatchNorm layer behind those that took it over.

    A network of `dogbreed.nets.backbone.build_net` multiplies these layers into its convolutions at every call, on a
    CPU. Here it is done once, on any device, and nothing of ours is left in the copy, which exporters can read.

    Args:
        net: A network made by `build_net`; it stays as it is. Others come back as a plain copy.

    Returns:
        In evaluation mode, without gradients, answering what ``net`` does; its state dict has other names.

    Example:
        >>> from dogbreed.nets.backbone import build_net
        >>> net = build_net("test_resnet", 3).eval()
        >>> sum(isinstance(module, nn.BatchNorm2d) for module in fuse(net).modules())
        0
    """
    fused = copy.deepcopy(net).requires_grad_(False)
    done: dict[nn.Module, nn.Module] = {}
    for conv in [module for module in fused.modules() if isinstance(module, FoldingConv2d)]:
        if conv.norm:
            (norm,) = conv.norm
            weight_OCkk, bias_O = folded_weights(conv.weight, conv.bias, norm)
            conv.weight = nn.Parameter(weight_OCkk, requires_grad=False)
            conv.bias = nn.Parameter(bias_O, requires_grad=False)
            done[norm] = nn.Sequential(norm.drop, norm.act) if isinstance(norm, FoldedBatchNormAct2d) else nn.Identity()
            del conv.norm
        conv.__class__ = nn.Conv2d  # type: ignore[assignment]
    for parent in list(fused.modules()):
        for name, child in list(parent.named_children()):
            if child in done:
                setattr(parent, name, done[child])
    return fused.eval()
