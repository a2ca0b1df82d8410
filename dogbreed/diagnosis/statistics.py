"""Statistics of tensors, computed where they live and asked for later.

Shape legend: B batch, C channels, T tensors, S statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dogbreed.diagnosis.observations import TensorStats

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs_mean": lambda values: values.abs().mean(),
    "mean": lambda values: values.mean(),
    "std": lambda values: values.std(correction=0),
    "zero_share": lambda values: (values == 0).float().mean(),
    "num_nan": lambda values: values.isnan().sum(),
    "num_inf": lambda values: values.isinf().sum(),
}
# Layers whose gradient vanishes at 0, and those where it does at both ends; an end is reached within LIMIT of it.
RELUS = (nn.ReLU, nn.ReLU6)
GATES = (nn.Sigmoid, nn.Tanh)
LIMIT = 1e-6


@dataclass
class Measured:
    """Statistics that may still be on their way to the host.

    Args:
        step: Optimiser steps done.
        kind: As in `TensorStats`.
        names: Of the T tensors.
        columns: Names of the S statistics.
        values_ST: On the host, once they are there.
        arrived: Tells when; None where they are there already.
    """

    step: int
    kind: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    values_ST: Tensor
    arrived: torch.cuda.Event | None = None

    @classmethod
    def of(
        cls, step: int, kind: str, names: Sequence[str], columns: Mapping[str, Sequence[Tensor] | Tensor]
    ) -> Measured:
        """Send statistics to the host without waiting for them.

        Args:
            step: Optimiser steps done.
            kind: As in `TensorStats`.
            names: Of the T tensors, at least one.
            columns: T numbers each, by the name of the statistic.
        """
        stacked = [column if isinstance(column, Tensor) else torch.stack(list(column)) for column in columns.values()]
        device = stacked[0].device
        values_ST = torch.stack([column.to(device, torch.float32, non_blocking=True) for column in stacked])
        arrived = None
        if device.type == "cuda":
            host = torch.empty(values_ST.shape, pin_memory=True)
            values_ST = host.copy_(values_ST, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        return cls(step, kind, tuple(names), tuple(columns), values_ST.cpu(), arrived)

    def is_there(self) -> bool:
        """Say without waiting whether the numbers can be read."""
        return self.arrived is None or bool(self.arrived.query())  # type: ignore[no-untyped-call]

    def read(self) -> TensorStats:
        """Return the numbers; waits for them where they are not there yet."""
        if self.arrived:
            self.arrived.synchronize()
        rows = self.values_ST.numpy()
        return TensorStats(self.step, self.kind, self.names, dict(zip(self.columns, rows, strict=True)))


@torch.no_grad()
def statistics_of(tensors: Sequence[Tensor], names: Sequence[str]) -> dict[str, list[Tensor]]:
    """Compute statistics of `FUNCTIONS` of each tensor, in float32, on its device."""
    floats = [tensor.detach().float() for tensor in tensors]
    return {name: [FUNCTIONS[name](values) for values in floats] for name in names}


def fan_in(parameter: Tensor) -> int:
    """Return how many inputs each output of a layer has by its weights; 1 for biases and factors.

    Example:
        >>> fan_in(torch.zeros(8, 3, 5, 5)), fan_in(torch.zeros(8))
        (75, 1)
    """
    return parameter[0].numel() if parameter.dim() > 1 else 1


@torch.no_grad()
def activation_statistics(layer: nn.Module, output: Tensor) -> Tensor:
    """Look at each channel over all pictures and places of a batch.

    Args:
        layer: Of `RELUS` or `GATES`.
        output: ``(B, C, H, W)``, or channels last.

    Returns:
        Shares of channels that are dead, that are saturated, and their number with something that is no number.
    """
    others = (0, 2, 3) if output.dim() == 4 else tuple(range(output.dim() - 1))
    highest_C, lowest_C = output.amax(others), output.amin(others)
    dead = saturated = torch.zeros((), device=output.device)
    if isinstance(layer, RELUS):
        dead = (highest_C <= 0).float().mean()
    else:
        bottom = -1.0 if isinstance(layer, nn.Tanh) else 0.0
        # A channel that jumps between both ends is as blind as one that stays at one.
        is_low = (output <= bottom + LIMIT) | (output >= 1 - LIMIT)
        saturated = is_low.all(0).flatten(1).all(1).float().mean() if output.dim() == 4 else is_low.float().mean()
    return torch.stack([dead, saturated, (highest_C + lowest_C).isnan().sum().float()])
