"""What this machine offers, and which versions run on it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CGROUP_DIR = Path("/sys/fs/cgroup")

# Of how many cores this process has the time, if it has to share them.
SHARE_VARIABLE = "DOGBREED_NUM_CPUS"


def num_cpus() -> int:
    """Count the CPU cores that this process may use, >= 1.

    The affinity mask and a container's quota both count; `os.cpu_count` knows
    neither and would start 64 workers in a container of two cores. So does the share
    of one of several processes that a search has started (`SHARE_VARIABLE`).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    share = os.environ.get(SHARE_VARIABLE, "")
    limits = [cores, *([int(quota)] if quota else []), *([int(share)] if share.isdigit() else [])]
    return max(1, min(limits))


def _cgroup_quota() -> float | None:
    try:
        limit, period = (CGROUP_DIR / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int((CGROUP_DIR / "cpu/cpu.cfs_quota_us").read_text())
        return limit_us / int((CGROUP_DIR / "cpu/cpu.cfs_period_us").read_text()) if limit_us > 0 else None
    except (OSError, ValueError):
        return None


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory that this process has held: a GPU's, or the host's where the device is none."""
    if device.type == "cuda":
        import torch  # which commands that end at once do without

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_threads() -> None:
    """Have torch use no more threads than this process has cores; unless the environment says how many.

    Torch counts the machine's cores and knows no container's quota, beyond which threads only take turns.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), num_cpus()))


def spare_gpu_lookups() -> None:
    """Have torch answer at once that there is no GPU, on a machine without one.

    Its optimisers ask in every step. The way that Lightning has it look is made for processes that fork: each time it
    searches for NVIDIA's library anew, a quarter of a millisecond in vain, where the CUDA runtime knows.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def describe_machine() -> dict[str, Any]:
    """Return what a run's speed depends on: ``cpu``, ``num_cpus``, ``memory_gb``, and the names of the ``gpus``."""
    gpus: list[str] = []
    if torch := sys.modules.get("torch"):
        gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    pages, page_bytes = (os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    return {"cpu": _cpu_name(), "num_cpus": num_cpus(), "memory_gb": round(pages * page_bytes / 1e9, 1), "gpus": gpus}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a result."""
    names = ("dogbreed", "torch", "torchvision", "timm", "lightning", "hydra-core")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def source_revision() -> str | None:
    """Return the git revision of the code that runs, ``-dirty`` if changed; None outside a checkout."""
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    try:
        describe = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        answer = subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
