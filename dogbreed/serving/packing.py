"""Convolutions whose weights lie as oneDNN wants them, with the activation behind each computed in the same pass.

What torch.compile makes of a frozen network's convolutions on a CPU, without its compiler: oneDNN otherwise brings the
weights into its own order in every call, and the activations go through memory once more. MobileNetV2 takes 0.8 of the
time, ResNet18 0.9. The operators are torch's own but not public: where this torch has none, or a layer is of another
kind, the layer stays as it is, and whoever calls this compares the answers.

Shape legend: B batch, C channels, H/W pixels.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

# By class: oneDNN's name, and its numbers.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}


class PackedConv2d(nn.Module):
    """A convolution and perhaps an activation, for float32 on a CPU, without gradients.

    Args:
        conv: What it computes.
        activation: Of `_ACTIVATIONS`; None for none.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._attribute = _ACTIVATIONS[type(activation)] if activation is not None else ("none", [])
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self._geometry)  # noqa: SLF001
        self._bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and activate."""
        operator = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
        return operator(x_BCHW, self._weight, self._bias, *self._geometry, *self._attribute, "")  # type: ignore[no-any-return]


def pack(net: nn.Module, images_BCHW: Tensor) -> int:
    """Pack the convolutions of a network's backbone, in place; its head stays, for its gradients are wanted.

    Args:
        net: A timm network in evaluation mode, float32, on a CPU.
        images_BCHW: An example of its input, channels_last.

    Returns:
        How many convolutions were packed; 0 where this torch cannot.
    """
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return 0
    with torch.inference_mode(False), torch.no_grad():  # inference_mode's tensors do not count their changes
        pairs = _watch(net, images_BCHW.clone())
    for conv_name, activation_name in pairs.items():
        conv = net.get_submodule(conv_name)
        assert isinstance(conv, nn.Conv2d)
        _replace(net, conv_name, PackedConv2d(conv, net.get_submodule(activation_name) if activation_name else None))
        if activation_name:
            _replace(net, activation_name, nn.Identity())
    return len(pairs)


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)


def _watch(net: nn.Module, images: Tensor) -> dict[str, str | None]:
    """Run the backbone once; return each convolution that is called once, and the activation of its output, if any."""
    # All are kept, so that no tensor takes another's place; with the number of changes in place, as by a block's +=.
    made: list[tuple[str, Tensor, int]] = []
    pairs: dict[str, str | None] = {}
    calls: Counter[str] = Counter()

    def note_conv(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        calls[name] += 1
        pairs[name] = None
        made.append((name, output, output._version))  # noqa: SLF001 -- torch's own word for it

    def note_activation(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        calls[name] += 1
        same = (conv for conv, output, num in made if output is inputs[0] and output._version == num)  # noqa: SLF001
        conv = next(same, None)
        if conv is not None:
            pairs[conv] = name

    hooks = []
    for name, module in net.named_modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            hooks.append(module.register_forward_hook(partial(note_conv, name)))
        elif type(module) in _ACTIVATIONS:
            hooks.append(module.register_forward_pre_hook(partial(note_activation, name)))
    try:
        net.forward_features(images)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    once = {conv: activation for conv, activation in pairs.items() if calls[conv] == 1}
    return {conv: name if name and calls[name] == 1 else None for conv, name in once.items()}
