"""What `auto` means for the machine at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Below this many cores a second loader process would only take time from training.
CPU_CORES_PER_WORKER = 4
MAX_WORKERS = 16


def auto_precision(accelerator: str, *, trains_backbone: bool = True) -> str:
    """Choose 16-bit arithmetic where it makes this machine quicker.

    Args:
        accelerator: Lightning's word for it.
        trains_backbone: Gradients go through all of the network, not only through its head.
    """
    import torch

    if accelerator == "cpu" or not torch.cuda.is_available():
        find = getattr(torch.cpu, "get_capabilities", None)  # not in torch 2.11
        found = find() if find else {}
        # Bfloat16's dot product (AVX512) without matrix units (AMX) only helps forward: 1.3 to 1.9 times as fast with
        # nine networks, where training is slower than without.
        has_it = found.get("amx_bf16") or (found.get("avx512_bf16") and not trains_backbone)
        return "bf16-mixed" if has_it else "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def keeps_pixels(data: Mapping[str, Any]) -> bool:
    """Say whether a ``data`` node's pictures are decoded once; packed ones are decoded in every epoch."""
    from dogbreed.data.storage import is_packed

    return data.get("cache") != "none" and not is_packed(data.get("root"))


def auto_workers(accelerator: str, num_devices: int = 1, *, is_cached: bool = False) -> int:
    """Choose the number of loader processes of one device, for this machine's CPU quota and accelerator."""
    import torch

    from dogbreed.machine import num_cpus

    cores = max(1, num_cpus() // max(1, num_devices))
    if accelerator != "cpu" and torch.cuda.is_available():
        return min(cores, MAX_WORKERS)
    # Cached pictures cost less than what a process that hands them over takes from training.
    return 0 if cores == 1 or is_cached else min(max(1, cores // CPU_CORES_PER_WORKER), MAX_WORKERS)
