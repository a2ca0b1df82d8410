"""Frozen BatchNorm layers folded into the convolutions before them, while they compute on a CPU.

With fixed statistics a BatchNorm layer is one factor and one summand a channel. Multiplied into the convolution's
weights they cost nothing, where the layer itself reads and writes all activations once forward and twice backward: a
third of a step of MobileNetV2. Parameters, names and gradients stay what they are; only the order of the arithmetic is
another (as in Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", 2018, section 3.2, who fold while they train, too).

Shape legend: B batch, C channels in, O channels out, H height, W width, k kernel side.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from dogbreed.nets.depthwise import conv2d

PROBES_PX = 32, 64, 128  # some networks have no room for the smaller ones
TOLERANCE = 1e-9


class FoldingConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that takes over the work of the frozen BatchNorm layer behind it, if it has one."""

    # In a tuple, which keeps it from being registered as a part of the convolution.
    norm: tuple[nn.BatchNorm2d, ...] = ()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute what the convolution does, and its BatchNorm layer if that is folded in."""
        weight, bias = self.weight, self.bias
        if self.norm and is_folded(self.norm[0], x_BCHW):
            weight, bias = folded_weights(weight, bias, self.norm[0])
        return conv2d(x_BCHW, weight, bias, self.stride, self.padding, self.dilation, self.groups)  # type: ignore[arg-type]


class FoldedBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose convolution has done its work where its statistics are frozen."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise, or pass on what is normalised."""
        return x_BCHW if is_folded(self, x_BCHW) else super().forward(x_BCHW)


class FoldedBatchNormAct2d(BatchNormAct2d):
    """timm's BatchNorm with an activation, which is all that is left of it where statistics are frozen."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise if it is still to be done, and activate."""
        if is_folded(self, x_BCHW):
            return self.act(self.drop(x_BCHW))  # type: ignore[no-any-return]
        return super().forward(x_BCHW)  # type: ignore[no-any-return, no-untyped-call]


# By the structure of a network, as torch prints it.
_PAIRS: dict[str, list[tuple[str, str]]] = {}
_FOLDED = {nn.BatchNorm2d: FoldedBatchNorm2d, BatchNormAct2d: FoldedBatchNormAct2d}


def is_folded(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """Say whether a BatchNorm layer's work is its convolution's now: both ask, and must get the same answer."""
    return not norm.training and x.device.type == "cpu" and not torch.compiler.is_compiling()


def folded_weights(weight_OCkk: Tensor, bias_O: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return a convolution's weight and bias with the work of the BatchNorm layer behind it in them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # Not in 16 bits, where precision=bf16-true keeps all.
    exact = torch.promote_types(weight_OCkk.dtype, torch.float32)
    scale_O = torch.rsqrt(norm.running_var.to(exact) + norm.eps)
    if norm.weight is not None:
        scale_O = scale_O * norm.weight
    shift_O = -norm.running_mean if bias_O is None else bias_O - norm.running_mean
    shift_O = shift_O * scale_O
    if norm.bias is not None:
        shift_O = shift_O + norm.bias
    return (weight_OCkk * scale_O.view(-1, 1, 1, 1)).to(weight_OCkk.dtype), shift_O.to(weight_OCkk.dtype)


def quicken(net: nn.Module) -> None:
    """Let the convolutions of a network take over the BatchNorm layers behind them; in place, tensors and modes stay.

    Which layer follows which is seen by running a copy once. Where folding would change what the copy answers, as with
    a convolution whose output goes to other places, too, no layer is folded.

    Args:
        net: ``(B, 3, H, W)`` in, on a CPU.
    """
    pairs = _known_pairs(net) if any(type(module) in _FOLDED for module in net.modules()) else []
    for conv in net.modules():
        if _is_plain(conv):
            conv.__class__ = FoldingConv2d
    _fold(net, pairs)


def fuse(net: nn.Module) -> nn.Module:
    """Return a copy that `bake` has folded, without gradients and without parts of ours: exporters can read it.

    Args:
        net: A network made by `build_net`; it stays as it is.

    Example:
        >>> from dogbreed.nets.backbone import build_net
        >>> sum(isinstance(module, nn.BatchNorm2d) for module in fuse(build_net("test_resnet", 3)).modules())
        0
    """
    fused = copy.deepcopy(net).eval().requires_grad_(False)
    bake(fused)
    return fused.requires_grad_(False)


@torch.no_grad()
def bake(net: nn.Module) -> int:
    """Fold for good what `quicken` has found, in a network that only answers from now on; in place.

    The BatchNorm layers are gone afterwards, and the names in the state dict are others.

    Args:
        net: In evaluation mode, on any device.

    Returns:
        How many layers were folded.
    """
    left: dict[nn.Module, nn.Module] = {}
    for conv in net.modules():
        if not isinstance(conv, FoldingConv2d):
            continue
        if conv.norm:
            (norm,) = conv.norm
            # Computed as at every call before: the answers stay the same to the last bit.
            weight, bias = folded_weights(conv.weight, conv.bias, norm)
            conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
            del conv.norm
            # Of timm's layer its activation is left, of torch's nothing.
            rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
            left[norm] = rest.eval()
        conv.__class__ = nn.Conv2d  # type: ignore[assignment]
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if child in left:
                setattr(parent, name, left[child])
    return len(left)


def _known_pairs(net: nn.Module) -> list[tuple[str, str]]:
    """Look once at networks that are built alike: trials of a sweep, and a model that is loaded after its training."""
    structure = f"{type(net).__qualname__} {net}"
    if structure not in _PAIRS:
        _PAIRS[structure] = _pairs(net)
    return _PAIRS[structure]


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _fold(net: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    for conv_name, norm_name in pairs:
        conv, norm = net.get_submodule(conv_name), net.get_submodule(norm_name)
        conv.__class__, norm.__class__ = FoldingConv2d, _FOLDED[type(norm)]
        conv.norm = (norm,)  # type: ignore[assignment]


@torch.no_grad()
def _pairs(net: nn.Module) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the BatchNorm layers right behind them; none if folding them is wrong."""
    shadow = copy.deepcopy(net).double().eval()
    _draw_statistics(shadow)
    for side in PROBES_PX:
        probe = torch.linspace(-1, 1, 3 * side**2, dtype=torch.float64).view(1, 3, side, side)
        try:
            pairs, plain = _watch(shadow, probe)
            _fold(shadow, pairs)
            folded = shadow(probe)
        except (RuntimeError, AssertionError, ValueError, TypeError):
            continue
        atol = TOLERANCE * float(plain.abs().max())
        return pairs if torch.allclose(folded, plain, rtol=TOLERANCE, atol=atol) else []
    return []


def _draw_statistics(net: nn.Module) -> None:
    """Give every BatchNorm layer its own: a new network's are 0 and 1, and some factors 0, which would hide errors."""
    generator = torch.Generator().manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                if tensor is not None:
                    drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                    tensor.copy_(drawn + 0.5)


def _watch(net: nn.Module, probe: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Run a network, and see which outputs of convolutions are the inputs of BatchNorm layers."""
    made: list[tuple[str, Tensor]] = []
    pairs: list[tuple[str, str]] = []

    def note_conv(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        made.append((name, output))

    def note_norm(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        pairs.extend((conv, name) for conv, output in made if output is inputs[0])

    hooks = []
    for name, module in net.named_modules():
        if _is_plain(module):
            hooks.append(module.register_forward_hook(partial(note_conv, name)))
        elif type(module) in _FOLDED:
            hooks.append(module.register_forward_pre_hook(partial(note_norm, name)))
    answer: Tensor = net(probe)
    for hook in hooks:
        hook.remove()
    calls = Counter(name for name, _ in made) + Counter(norm for _, norm in pairs)
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1], answer
