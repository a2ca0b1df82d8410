"""What rules are shown: numbers that were measured while a run trained.

Shape legend: T tensors, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class TensorStats:
    """Statistics of tensors of one kind after a step.

    Args:
        step: Optimiser steps done, from 1.
        kind: ``gradient``, ``weight``, ``update`` (of weights, by this step) or ``activation`` (outputs of layers).
        names: Of the T tensors: parameters, or layers for activations.
        columns: ``(T,)`` each, by name: those of `dogbreed.diagnosis.statistics`.
    """

    step: int
    kind: str
    names: tuple[str, ...]
    columns: Mapping[str, Numbers]


@dataclass(frozen=True)
class StepLoss:
    """The training loss of a step.

    Args:
        step: Optimiser steps done, from 1.
        loss: Mean over the batch.
    """

    step: int
    loss: float


@dataclass(frozen=True)
class InputStats:
    """What the network was fed with.

    Args:
        step: Optimiser steps done, from 1.
        mean: Of each channel of the normalised pixels.
        std: Of each channel.
        num_images: Pictures in the batch.
    """

    step: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_images: int


@dataclass(frozen=True)
class EpochEnd:
    """Where an epoch has ended.

    Args:
        step: Optimiser steps done.
        epoch: From 1.
        metrics: ``train/loss``, ``val/loss``, ``val/acc_top1`` and so on; those of valid are missing where it was not
            looked at.
        confusion_KK: Counts on valid; rows true classes, columns predicted ones.
        class_names: K.
        class_counts: Training pictures of each class.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float]
    confusion_KK: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepTimes:
    """How long the steps since the last look took.

    Args:
        step: Optimiser steps done.
        total_s: Of each step, waiting for data included.
        wait_s: Of each step, waiting for data.
    """

    step: int
    total_s: Numbers
    wait_s: Numbers


@dataclass(frozen=True)
class SystemSample:
    """What the machine did at a moment.

    Args:
        step: Optimiser steps done.
        cpu: Share of each core that was busy, 0..1.
        io_wait: Share of time that cores waited for disks, 0..1.
        memory_bytes: Of this process and its children.
        gpu: Share of the time that each GPU was busy, 0..1.
        gpu_memory: Share of each GPU's memory that is taken, 0..1.
        disk_bytes_s: What this process reads from disks and writes to them, in a second.
        network_bytes_s: What this machine receives and sends, in a second.
    """

    step: int
    cpu: tuple[float, ...]
    io_wait: float = 0.0
    memory_bytes: int = 0
    gpu: tuple[float, ...] = ()
    gpu_memory: tuple[float, ...] = ()
    disk_bytes_s: tuple[float, float] = (0.0, 0.0)
    network_bytes_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Silence:
    """That nothing has been heard of the run for a while: no training step, no batch of validation.

    Args:
        step: Optimiser steps done.
        seconds: Since the last sign of life.
        where: The line of code that the main thread is in.
    """

    step: int
    seconds: float
    where: str = ""


@dataclass(frozen=True)
class Setting:
    """What a run is, before its first step.

    Args:
        num_workers: Loader processes.
        num_cores: That this process may use.
        pin_memory: Whether loaders keep batches where GPUs can fetch them.
        batch_size: Pictures a step.
        accelerator: ``cpu``, ``cuda`` or ``mps``.
        seconds: From the start of the run to its first step.
    """

    num_workers: int
    num_cores: int
    pin_memory: bool
    batch_size: int
    accelerator: str
    seconds: float


Observation = TensorStats | StepLoss | InputStats | EpochEnd | StepTimes | SystemSample | Silence | Setting
