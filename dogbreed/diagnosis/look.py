"""One step of training, looked at closely: input, activations, gradients, weights and how they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dogbreed.diagnosis.statistics import (
    GATES,
    RELUS,
    Measured,
    activation_statistics,
    fan_in,
    sample_of,
    statistics_of,
)

TINY = 1e-12


class Look:
    """Measures a step while it is made; nothing waits for the device.

    Args:
        step: Number of the optimiser's step, from 1.
        net: The network that makes it.
        sample_size: Values of each gradient and weight that are kept for histograms; 0 for none.
    """

    def __init__(self, step: int, net: nn.Module, sample_size: int = 0) -> None:
        self.measured: list[Measured] = []
        self._step = step
        self._sample_size = sample_size
        self._trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self._before: dict[str, Tensor] = {}
        self._activations: dict[str, Tensor] = {}
        self._hooks: list[Any] = []
        if getattr(net, "_compiled_call_impl", None) is None:  # compiled code calls no hooks
            for name, layer in net.named_modules():
                if isinstance(layer, (*RELUS, *GATES)):
                    self._hooks.append(layer.register_forward_hook(partial(self._see_activation, name)))

    @torch.no_grad()
    def see_input(self, images_BCSS: Tensor) -> None:
        """Measure what goes into the network, normalised."""
        channels = images_BCSS.unbind(1)
        columns: dict[str, Any] = statistics_of(channels, ["mean", "std"])
        columns["num_images"] = torch.full((len(channels),), len(images_BCSS), device=images_BCSS.device)
        self._add("input", [f"channel {number}" for number in range(len(channels))], columns)

    def see_gradients(self) -> None:
        """Measure gradients before the optimiser takes its step, and keep the weights that it will change."""
        gradients = {name: p.grad for name, p in self._trained.items() if p.grad is not None}
        columns = ["abs_mean", "std", "zero_share", "num_nan", "num_inf"]
        values = list(gradients.values())
        self._add("gradient", list(gradients), statistics_of(values, columns), values)
        self._before = {name: parameter.detach().clone() for name, parameter in self._trained.items()}

    @torch.no_grad()
    def finish(self) -> list[Measured]:
        """Measure weights after the step, and end.

        Returns:
            All that was measured.
        """
        self.close()
        names, weights = list(self._trained), list(self._trained.values())
        columns: dict[str, Any] = statistics_of(weights, ["std", "num_nan", "num_inf"])
        columns["fan_in"] = _fans(weights)
        self._add("weight", names, columns, weights)
        if self._before:
            before = list(self._before.values())
            sizes = statistics_of(before, ["abs_mean"])["abs_mean"]
            changes = [now.detach() - then for now, then in zip(weights, before, strict=True)]
            means = statistics_of(changes, ["abs_mean"])["abs_mean"]
            ratios = [mean / size.clamp_min(TINY) for mean, size in zip(means, sizes, strict=True)]
            self._add("update", names, {"ratio": ratios, "fan_in": _fans(weights)})
        if self._activations:
            shares = torch.stack(list(self._activations.values())).unbind(1)
            columns = dict(zip(("dead_share", "saturated_share", "num_nan"), shares, strict=True))
            self._add("activation", list(self._activations), columns | {"zero_share": shares[0]})
        return self.measured

    def close(self) -> None:
        """Take all hooks off the network."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _see_activation(self, name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        # Now: what comes next may write over it.
        self._activations[name] = activation_statistics(layer, output)

    def _add(self, kind: str, names: list[str], columns: Mapping[str, Any], values: Sequence[Tensor] = ()) -> None:
        if names:
            sample_TN = sample_of(values, self._sample_size) if self._sample_size and values else None
            self.measured.append(Measured.of(self._step, kind, names, columns, sample_TN))


def _fans(weights: list[nn.Parameter]) -> Tensor:
    return torch.tensor([float(fan_in(weight)) for weight in weights])
