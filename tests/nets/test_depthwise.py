"""Depthwise convolutions keep torch's values; only the way to their gradients is ours."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from dogbreed.nets.depthwise import depthwise_conv2d
from dogbreed.nets.folding import quicken


@st.composite
def geometries(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Size, kernel, stride, padding and dilation, each down and across."""

    def both(lowest: int, highest: int) -> tuple[int, int]:
        return draw(st.integers(lowest, highest)), draw(st.integers(lowest, highest))

    kernel, dilation = both(1, 5), both(1, 2)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = draw(st.integers(0, reach[0])), draw(st.integers(0, reach[1]))
    height, width = both(9, 16)
    return (height, width), kernel, both(1, 3), padding, dilation


@settings(max_examples=60, deadline=None)
@given(geometries())
def test_values_and_gradients_are_torchs(geometry: tuple[tuple[int, int], ...]) -> None:
    size, kernel, stride, padding, dilation = geometry
    generator = torch.Generator().manual_seed(sum(size))
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(3, 1, *kernel, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True)

    theirs = F.conv2d(x, weight, bias, stride, padding, dilation, 3)
    ours = depthwise_conv2d(x, weight, bias, stride, padding, dilation)

    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    grad = torch.randn(theirs.shape, dtype=torch.float64, generator=generator)
    expected = torch.autograd.grad(theirs, (x, weight, bias), grad)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight, bias), grad), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2)])
def test_bfloat16_gradients_are_as_near_to_the_truth_as_torchs(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16)
    ours = nn.Sequential(copy.deepcopy(conv))
    quicken(ours)
    x = torch.randn(4, 16, 15, 15)

    truth = _gradients(conv, x, torch.float32)
    theirs = _gradients(conv, x, torch.bfloat16)
    found = _gradients(ours, x, torch.bfloat16)

    with torch.autocast("cpu", torch.bfloat16):
        assert type(ours(x).grad_fn).__name__ == "_DepthwiseBackward"
    for one, other in zip(_errors(found, truth), _errors(theirs, truth), strict=True):
        assert one < 1.5 * other


def _gradients(conv: nn.Module, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = conv(x).float()
    weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    return torch.autograd.grad((y * weights).sum(), (x, *conv.parameters()))


def _errors(found: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> list[float]:
    return [float((one - other).norm() / other.norm()) for one, other in zip(found, truth, strict=True)]
