"""Optimiser, parameter groups and learning rate schedule.

All groups exist from the first step with absolute learning rates; phases move
multipliers. Groups that appear later upset every scheduler, and relative rates
(timm's ``lr_scale``) are ignored by torch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dogbreed.errors import UserError
from dogbreed.nets.backbone import backbone_layers
from dogbreed.nets.finetune import FinetuneSettings

OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class OptimSettings:
    """Optimiser and schedule.

    Args:
        name: ``adamw`` (Loshchilov & Hutter, "Decoupled weight decay", 2019) or
            ``sgd`` with Nesterov momentum.
        lr: Peak learning rate of the head, > 0.
        weight_decay: >= 0; never applied to biases and norms.
        betas: AdamW's two decay rates, each 0 <= b < 1.
        eps: AdamW's term against division by zero, > 0.
        momentum: SGD's momentum, 0 <= m < 1.
        warmup_fraction: Share of all steps with a linear rise, 0 <= f < 1.
        final_lr_scale: Share of the peak at the end of the cosine, 0..1.

    Raises:
        UserError: a value is unknown or out of range.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    warmup_fraction: float = 0.1
    final_lr_scale: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        checks = [
            (self.name in OPTIMIZERS, f"optim.name={self.name} is unknown; valid: {', '.join(OPTIMIZERS)}."),
            (0 < self.lr < math.inf, f"optim.lr={self.lr} must be a number above 0."),
            (self.weight_decay >= 0, f"optim.weight_decay={self.weight_decay} must not be negative."),
            (
                len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
                f"optim.betas={list(self.betas)} must be two numbers, each at least 0 and below 1.",
            ),
            (self.eps > 0, f"optim.eps={self.eps} must be above 0."),
            (0 <= self.momentum < 1, f"optim.momentum={self.momentum} must be at least 0 and below 1."),
            (
                0 <= self.warmup_fraction < 1,
                f"optim.warmup_fraction={self.warmup_fraction} must be at least 0 and below 1.",
            ),
            (0 <= self.final_lr_scale <= 1, f"optim.final_lr_scale={self.final_lr_scale} must be between 0 and 1."),
        ]
        for holds, message in checks:
            if not holds:
                raise UserError(message)


@dataclass(frozen=True)
class CosineWithWarmup:
    """Learning rate multiplier of one parameter group: rest, linear rise, half a cosine.

    Args:
        total_steps: Optimiser steps in the whole run, >= 1.
        warmup_steps: Steps of the rise, >= 0.
        final_scale: Multiplier at the end, 0..1.
        first_step: Step before which the group rests at 0.
    """

    total_steps: int
    warmup_steps: int
    final_scale: float = 0.0
    first_step: int = 0

    def __call__(self, step: int) -> float:
        """Return the multiplier for optimiser step ``step``, counted from 0."""
        if step < self.first_step:
            return 0.0
        done = step - self.first_step
        if done < self.warmup_steps:
            return (done + 1) / (self.warmup_steps + 1)
        remaining = max(1, self.total_steps - self.first_step - self.warmup_steps)
        progress = min(1.0, (done - self.warmup_steps) / remaining)
        return self.final_scale + (1 - self.final_scale) * 0.5 * (1 + math.cos(math.pi * progress))


def build_param_groups(net: nn.Module, optim: OptimSettings, finetune: FinetuneSettings) -> list[dict[str, Any]]:
    """Sort the parameters that ever train into groups, each into exactly one.

    Args:
        net: Network made by `build_net`.
        optim: Learning rate and weight decay.
        finetune: Which parts train.

    Returns:
        Groups for a torch optimiser, with ``name``, absolute ``lr`` and ``weight_decay``.
        Names are ``head`` and ``backbone``, or ``backbone_0``, ``backbone_1``, … from the
        input upwards where its layers have several rates; ``…_no_decay`` for what is not decayed.
    """
    layer_of, num_layers = backbone_layers(net)
    if num_layers == 1 and finetune.mode in ("layer_decay", "discriminative"):
        msg = f"finetune={finetune.mode} needs to know the layers of the network, which timm does not say: use full."
        raise UserError(msg)
    rates = sorted({finetune.lr_scale(layer, num_layers) for layer in layer_of.values()})
    members: dict[tuple[str, bool], list[nn.Parameter]] = {}
    lrs = {"head": optim.lr}
    for name, parameter in net.named_parameters():
        part = "head"
        if name in layer_of:
            if finetune.mode == "head":
                continue
            scale = finetune.lr_scale(layer_of[name], num_layers)
            part = f"backbone_{rates.index(scale)}" if len(rates) > 1 else "backbone"
            lrs[part] = optim.lr * scale
        # Norm scales and biases are vectors; decaying them only hurts (He et al., "Bag of tricks", 2019).
        members.setdefault((part, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "name": part if decays else f"{part}_no_decay",
            "params": params,
            "lr": lrs[part],
            "weight_decay": optim.weight_decay if decays else 0.0,
        }
        for (part, decays), params in reversed(members.items())
    ]


def build_optimizer(groups: Sequence[dict[str, Any]], optim: OptimSettings, *, may_fuse: bool = True) -> Optimizer:
    """Make the optimiser, in the fused form where the parameters' device has one.

    Args:
        groups: As `build_param_groups` makes them.
        optim: Its name and numbers.
        may_fuse: Allow the fused form.
    """
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    fused = may_fuse and devices <= {"cuda", "cpu"}
    if optim.name == "sgd":
        nesterov = optim.momentum > 0
        return torch.optim.SGD(list(groups), lr=optim.lr, momentum=optim.momentum, nesterov=nesterov, fused=fused)
    return torch.optim.AdamW(list(groups), lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=fused)


def build_scheduler(
    optimizer: Optimizer, optim: OptimSettings, finetune: FinetuneSettings, total_steps: int, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Make the schedule that is stepped after every optimiser step.

    Args:
        optimizer: With the groups of `build_param_groups`.
        optim: Warm-up and end of the cosine.
        finetune: When the backbone begins.
        total_steps: Optimiser steps in the whole run, >= 1.
        steps_per_epoch: Optimiser steps in an epoch, >= 1.

    Returns:
        A scheduler with one multiplier a group.
    """
    head_steps = finetune.head_epochs * steps_per_epoch if finetune.begins_with_head else 0

    def multiplier(group: dict[str, Any]) -> CosineWithWarmup:
        first_step = 0 if group["name"].startswith("head") else head_steps
        warmup_steps = round(optim.warmup_fraction * (total_steps - first_step))
        return CosineWithWarmup(total_steps, warmup_steps, optim.final_lr_scale, first_step)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, [multiplier(group) for group in optimizer.param_groups])
