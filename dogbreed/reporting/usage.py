"""What the machine did, and whether its cores, loaders and memory fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dogbreed.reporting.sources import Numbers, Table

WAITS = 0.1


@dataclass(frozen=True)
class Usage:
    """Samples of the machine over time.

    Args:
        seconds: Time of each sample.
        cores_NC: Busy shares of each core, 0..1.
        io_wait: Share of time that cores waited for disks, 0..1.
        memory_gb: Memory of the process.
        gpus: Busy share of each GPU, 0..1, by name.
        gpu_memory: Share of each GPU's memory that is taken, 0..1, by name.
    """

    seconds: Numbers
    cores_NC: Numbers
    io_wait: Numbers
    memory_gb: Numbers
    gpus: Mapping[str, Numbers]
    gpu_memory: Mapping[str, Numbers]


def usage_of(system: Table | None) -> Usage | None:
    """Read the samples; None without any.

    A run that went on after an interruption begins to count its seconds anew: its samples are put one after the other.
    """
    if system is None or not len(system):
        return None
    names = list(system.columns)
    cores = sorted((name for name in names if re.fullmatch(r"cpu\d+", name)), key=_place)
    gpus = sorted((name for name in names if re.fullmatch(r"gpu\d+", name)), key=_place)
    cores_NC = np.stack([system.numbers(name) for name in cores], axis=1) if cores else np.empty((len(system), 0))
    return Usage(
        seconds=_one_after_the_other(np.clip(np.nan_to_num(system.numbers("seconds")), 0, 1e9)),
        cores_NC=cores_NC,
        io_wait=system.numbers("io_wait"),
        memory_gb=system.numbers("memory_gb"),
        gpus={name: system.numbers(name) for name in gpus},
        gpu_memory={name: system.numbers(f"{name}_memory") for name in gpus if f"{name}_memory" in system},
    )


def loader_advice(
    num_workers: int | None,
    num_cpus: int | None,
    wait_share: float | None,
    gpus: Sequence[str],
    residency: str | None = None,
) -> list[str]:
    """Say how loader processes, cores and pinned memory go together, in sentences.

    Args:
        num_workers: Loader processes; 0 loads in the training process, None is not known.
        num_cpus: Cores of the machine, None if not known.
        wait_share: Part of the time that training waited for pictures, 0..1; None if not known.
        gpus: Names of the GPUs; empty for a run on the CPU.
        residency: Where pictures live: ``host``, ``device`` or ``auto``.
    """
    sentences = []
    if num_workers is not None and num_cpus:
        workers = f"{num_workers} loader processes" if num_workers != 1 else "1 loader process"
        if num_workers == 0:
            workers = "No loader processes: the training process loads its own pictures"
        words = f"{workers}, {num_cpus} {'core' if num_cpus == 1 else 'cores'}."
        if num_workers > num_cpus:
            words += f" More loaders than cores only take turns: data.num_workers={num_cpus} at most."
        elif wait_share is not None and wait_share > WAITS and num_workers < num_cpus - 1:
            words += (
                f" Training waited {100 * wait_share:.0f} % of its time and cores are free: try "
                f"data.num_workers={min(num_cpus - 1, max(4, 2 * num_workers))}, or keep decoded pictures "
                "(data.cache=auto)."
            )
        elif wait_share is not None and wait_share > WAITS:
            words += (
                f" Training waited {100 * wait_share:.0f} % of its time for pictures and no core is left for more "
                "loaders: keep decoded pictures (data.cache=auto), or take smaller ones."
            )
        elif wait_share is not None:
            words += f" Training waited {100 * wait_share:.0f} % of its time for pictures: loading keeps up."
        sentences.append(words)
    if gpus:
        kept = "" if residency == "device" else "; data.residency=device spares the copying altogether, if they fit"
        sentences.append(f"Batches are loaded into pinned memory, from which the GPU fetches them on its own{kept}.")
    else:
        sentences.append("Pinned memory: no GPU, nothing to pin.")
    return sentences


def _one_after_the_other(seconds: Numbers) -> Numbers:
    jumps = np.diff(seconds, prepend=seconds[:1])
    lasting: Numbers = np.cumsum(np.where(jumps < 0, 0.0, jumps)) + seconds[0]
    return lasting


def _place(name: str) -> int:
    return int(name[3:])
