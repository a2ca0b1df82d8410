"""What each of several workers gets of a machine: cores and GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from dogbreed.machine import SHARE_VARIABLE, num_cpus

if TYPE_CHECKING:
    from omegaconf import DictConfig

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """A worker's part of the machine.

    Args:
        num_cores: How many cores it computes on, >= 1.
        cores: Which ones; empty where that is left to the system.
        gpus: Which GPUs it sees, as ``CUDA_VISIBLE_DEVICES`` names them; None where there are none to share.
    """

    num_cores: int
    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables that keep a worker to its share."""
        variables = {SHARE_VARIABLE: str(self.num_cores)}
        return variables if self.gpus is None else {**variables, VISIBLE_GPUS: ",".join(self.gpus)}


def share_out(
    num_workers: int, cores: Sequence[int], num_usable: int, gpus: Sequence[str] = (), gpus_each: int = 1
) -> list[Share]:
    """Share a machine between workers.

    Args:
        num_workers: How many, >= 1.
        cores: Numbers of the cores that this process may run on; empty where the system does not say.
        num_usable: Of how many of them it has the time, >= 1: a container's quota may be less.
        gpus: Names of the GPUs that this process sees, if trials use any.
        gpus_each: How many a trial uses, >= 1.

    Returns:
        A share for each: whole cores of its own where there are enough of them, and no quota that they would not tell
        of; GPUs of its own.

    Raises:
        UserError: there are too few GPUs.

    Example:
        >>> [share.cores for share in share_out(2, [0, 1, 2], 3)]
        [(0, 1), (2,)]
    """
    if gpus and num_workers * gpus_each > len(gpus):
        msg = (
            f"hydra.sweeper.n_jobs={num_workers}: so many trials at a time, on {gpus_each} GPU each, need more than "
            f"the {len(gpus)} here: use hydra.sweeper.n_jobs={max(1, len(gpus) // gpus_each)}, or trainer=cpu."
        )
        raise UserError(msg)
    has_own = len(cores) == num_usable >= num_workers
    each, rest = divmod(num_usable, num_workers)
    shares, taken = [], 0
    for index in range(num_workers):
        count = each + (index < rest)
        own = tuple(cores[taken : taken + count]) if has_own else ()
        mine = tuple(gpus[index * gpus_each : (index + 1) * gpus_each]) if gpus else None
        shares.append(Share(max(1, count), own, mine))
        taken += count
    return shares


def shares_of_this_machine(config: DictConfig, num_workers: int) -> list[Share]:
    """Share this machine as a configuration's trials need it.

    Args:
        config: Of the sweep.
        num_workers: How many trials run at a time, >= 1.

    Raises:
        UserError: there are too few GPUs, or ``trainer.devices`` names some.
    """
    from omegaconf import OmegaConf

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus: list[str] = []
    devices = OmegaConf.select(config, "trainer.devices", default=1)
    accelerator = OmegaConf.select(config, "trainer.accelerator")
    if accelerator in ("auto", "gpu", "cuda"):
        gpus = visible_gpus(os.environ)
    if gpus and not isinstance(devices, int | str):
        msg = (
            f"trainer.devices={devices} names GPUs, and hydra.sweeper.n_jobs={num_workers} shares them out: give the "
            "number of GPUs that a trial trains on, trainer.devices=1."
        )
        raise UserError(msg)
    count = int(devices) if str(devices).lstrip("-").isdigit() else 1
    return share_out(num_workers, cores, num_cpus(), gpus, count if count > 0 else max(1, len(gpus) // num_workers))


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Name the GPUs that torch sees, as ``CUDA_VISIBLE_DEVICES`` does."""
    import torch

    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    named = [name.strip() for name in environment.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
