"""Depthwise convolutions whose gradients in bfloat16 are quick on a CPU, too.

oneDNN trains most layers two to four times as fast in bfloat16 as in float32 where a CPU has AMX, but not these: the
gradient of the input is ten times slower with a stride, that of the weights five times with kernels of 5 × 5, which
is more than all other layers gain. Both are written here by what it does quickly.

Shape legend: B batch, C channels, H height, W width, k kernel side.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, int]
# From this kernel area on, the weights' gradient is quicker in float32, casts included.
SLOW_KERNEL_AREA = 25


def conv2d(
    x_BCHW: Tensor,
    weight_OCkk: Tensor,
    bias_O: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Convolve as `torch.nn.functional.conv2d` does; depthwise ones in bfloat16 on a CPU get our gradients."""
    is_ours = (
        groups == x_BCHW.shape[1] == weight_OCkk.shape[0] > 1
        and x_BCHW.device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and not torch.compiler.is_compiling()
        # What the transposed convolution pads with; more than that would be cut off.
        and all(p <= d * (k - 1) for p, d, k in zip(padding, dilation, weight_OCkk.shape[2:], strict=True))
    )
    if not is_ours:
        return F.conv2d(x_BCHW, weight_OCkk, bias_O, stride, padding, dilation, groups)
    bias_O = bias_O if bias_O is None else bias_O.bfloat16()
    return depthwise_conv2d(x_BCHW.bfloat16(), weight_OCkk.bfloat16(), bias_O, stride, padding, dilation)


def depthwise_conv2d(
    x_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Convolve each channel with its own kernel.

    Args:
        x_BCHW: Input.
        weight_C1kk: Kernels, of the input's type.
        bias_C: Added to each channel.
        stride: Of the output's pixels in the input, down and across.
        padding: Zeros on each side, at most ``dilation * (k - 1)``.
        dilation: Distance of the kernel's taps.

    Returns:
        What `torch.nn.functional.conv2d` does, with gradients of the same value; not twice differentiable.
    """
    return _Depthwise.apply(x_BCHW, weight_C1kk, bias_C, stride, padding, dilation)  # type: ignore[no-any-return]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation
        return F.conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_x = _grad_of_input(grad, weight, (x.shape[2], x.shape[3]), *ctx.geometry) if needs_x else None
        grad_weight = _grad_of_weight(grad, x, weight, *ctx.geometry) if needs_weight else None
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None, None


def _grad_of_input(grad: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """Convolve the output's gradient, spread out with zeros by the stride, with the mirrored kernels."""
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    height, width = (side + 2 * p - r for side, p, r in zip(size, padding, reach, strict=True))
    if grad.shape[2:] != (height, width):
        shape = (*grad.shape[:2], height, width)
        spread = torch.empty(shape, dtype=grad.dtype, memory_format=torch.channels_last).zero_()
        spread[:, :, :: stride[0], :: stride[1]] = grad
        grad = spread
    margin = [r - p for r, p in zip(reach, padding, strict=True)]
    return F.conv2d(grad, weight.flip(2, 3), None, 1, margin, dilation, grad.shape[1])


def _grad_of_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    is_slow = weight.dtype == torch.bfloat16 and weight.shape[2] * weight.shape[3] >= SLOW_KERNEL_AREA
    parts = (grad.float(), x.float(), weight.float()) if is_slow else (grad, x, weight)
    mask = [False, True, False]
    _, found, _ = torch.ops.aten.convolution_backward(
        *parts, None, stride, padding, dilation, False, [0, 0], x.shape[1], mask
    )
    return found.to(weight.dtype)  # type: ignore[no-any-return]
