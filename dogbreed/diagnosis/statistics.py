"""Statistics of tensors, computed where they live and asked for later.

Shape legend: B batch, C channels, T tensors, S statistics, N values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dogbreed.diagnosis.observations import TensorStats


def _count(is_it: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Count values that are not finite; on a CPU, which answers at once, by one pass where there are none."""
    if values.device.type == "cpu" and values.sum().isfinite():
        return values.new_zeros(())
    return is_it(values).sum()


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs_mean": lambda values: values.abs().mean(),
    "mean": lambda values: values.mean(),
    "std": lambda values: values.std(correction=0),
    "zero_share": lambda values: 1 - values.count_nonzero() / values.numel(),
    "num_nan": lambda values: _count(torch.isnan, values),
    "num_inf": lambda values: _count(torch.isinf, values),
}
# Layers whose gradient vanishes at 0, and those where it does at both ends; an end is reached within LIMIT of it.
RELUS = (nn.ReLU, nn.ReLU6)
GATES = (nn.Sigmoid, nn.Tanh)
LIMIT = 1e-6


class Travelling:
    """Numbers that may still be on their way to the host; nobody waited for them when they were sent.

    Args:
        values: On any device.
    """

    def __init__(self, values: Tensor) -> None:
        self._arrived = None
        if values.device.type == "cuda":
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()
        self._values = values.cpu()

    def is_there(self) -> bool:
        """Say without waiting whether they can be read."""
        return self._arrived is None or bool(self._arrived.query())  # type: ignore[no-untyped-call]

    def read(self) -> NDArray[np.float32]:
        """Return them; waits where they are not there yet."""
        if self._arrived:
            self._arrived.synchronize()
        numbers: NDArray[np.float32] = self._values.numpy()
        return numbers


@dataclass
class Measured:
    """Statistics of tensors of a kind, on their way to the host.

    Args:
        step: Optimiser steps done.
        kind: As in `TensorStats`.
        names: Of the T tensors.
        columns: Names of the S statistics.
        values_ST: The statistics.
        sample_TN: Some values of each tensor, for histograms, where they are wanted.
    """

    step: int
    kind: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    values_ST: Travelling
    sample_TN: Travelling | None = None

    @classmethod
    def of(
        cls,
        step: int,
        kind: str,
        names: Sequence[str],
        columns: Mapping[str, Sequence[Tensor] | Tensor],
        sample_TN: Tensor | None = None,
    ) -> Measured:
        """Send statistics to the host without waiting for them.

        Args:
            step: Optimiser steps done.
            kind: As in `TensorStats`.
            names: Of the T tensors, at least one.
            columns: T numbers each, by the name of the statistic.
            sample_TN: As `sample_of` returns it.
        """
        stacked = [column if isinstance(column, Tensor) else torch.stack(list(column)) for column in columns.values()]
        device = stacked[0].device
        values_ST = torch.stack([column.to(device, torch.float32, non_blocking=True) for column in stacked])
        sample = None if sample_TN is None else Travelling(sample_TN)
        return cls(step, kind, tuple(names), tuple(columns), Travelling(values_ST), sample)

    def is_there(self) -> bool:
        """Say without waiting whether the numbers can be read."""
        return self.values_ST.is_there() and (self.sample_TN is None or self.sample_TN.is_there())

    def read(self) -> TensorStats:
        """Return the statistics; waits for them where they are not there yet."""
        rows = self.values_ST.read()
        return TensorStats(self.step, self.kind, self.names, dict(zip(self.columns, rows, strict=True)))


@torch.no_grad()
def statistics_of(tensors: Sequence[Tensor], names: Sequence[str]) -> dict[str, list[Tensor]]:
    """Compute statistics of `FUNCTIONS` of each tensor, in float32, on its device."""
    floats = [tensor.detach().float() for tensor in tensors]
    return {name: [FUNCTIONS[name](values) for values in floats] for name in names}


@torch.no_grad()
def sample_of(tensors: Sequence[Tensor], size: int) -> Tensor:
    """Pick values of each tensor at even distances.

    Args:
        tensors: T of them, none empty.
        size: N, how many of each; all of a tensor that has no more.

    Returns:
        ``(T, N)`` float32 on their device, NaN where a tensor has fewer.
    """
    rows = []
    for tensor in tensors:
        is_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        values = (tensor.permute(0, 2, 3, 1) if is_last else tensor).detach().reshape(-1)  # as it lies in memory
        picked = values[:: -(-values.numel() // size)].float()
        rows.append(nn.functional.pad(picked, (0, size - picked.numel()), value=torch.nan))
    return torch.stack(rows)


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
