"""How large a network is, how much arithmetic a training step takes, and how much a GPU could do."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# 16-bit matrix products a second at best, dense, in units of 10^12 (NVIDIA's data sheets); the first name that the
# device's holds counts.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L4": 121.0,
    "T4": 65.0,
    "V100": 125.0,
}


def count_parameters(net: nn.Module) -> int:
    """Count a network's parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in net.parameters())


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the operations a second that a GPU can do at best; None where nobody has told us.

    Args:
        device: Where training runs.
        precision: Lightning's word; only 16-bit arithmetic is known.
    """
    if device.type != "cuda" or "16" not in precision:
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for known, peak in PEAK_TFLOPS.items() if known in name), None)


def training_flops(net: nn.Module, input_size_px: int) -> int:
    """Count the operations of forward and backward pass for one picture, a multiplication and an addition as two.

    Only convolutions and matrix products count (Chowdhery et al., "PaLM", 2022, appendix B: model FLOPs utilisation),
    and in the backward pass only what leads to parameters that have gradients.

    Args:
        net: Any network; it is copied without its numbers, and nothing is computed.
        input_size_px: Side of the picture.

    Example:
        >>> training_flops(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 2)  # forward, gradient of the weights
        240
    """
    shadow = copy.deepcopy(net).to("meta")
    with FlopCounterMode(display=False) as counter:
        shadow(torch.empty(1, 3, input_size_px, input_size_px, device="meta")).sum().backward()
    return int(counter.get_total_flops())
