"""Rules about what the machine does.

Sources of names, parameters and defaults: "List of Debugger built-in profiler rules" in AWS's documentation of
SageMaker. Thresholds are in percent where they are there; windows count samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dogbreed.diagnosis.observations import Observation, SystemSample
from dogbreed.diagnosis.rule import Finding, Rule


@dataclass
class _Windowed(Rule):
    """Looks at the last samples of the machine, after the first ones."""

    window: int = 100
    patience: int = 50
    _samples: deque[SystemSample] = field(default_factory=deque, init=False)
    _num_seen: int = field(default=0, init=False)

    def look(self, seen: Observation) -> Finding | None:
        """Take in a sample, and judge when there are enough."""
        if not isinstance(seen, SystemSample):
            return None
        self._num_seen += 1
        if self._num_seen <= self.patience:
            return None
        self._samples.append(seen)
        if len(self._samples) < self.window:
            return None
        while len(self._samples) > self.window:
            self._samples.popleft()
        evidence = self.judge(list(self._samples))
        return Finding(seen.step, evidence) if evidence else None

    @abstractmethod
    def judge(self, samples: list[SystemSample]) -> str:
        """Say in a clause what is wrong with a window; nothing otherwise."""


@dataclass
class CpuBottleneck(_Windowed):
    """Fires when the GPU waits while the CPU is busy.

    Args:
        threshold: Percent of the samples.
        gpu_threshold: Percent below which a GPU counts as waiting.
        cpu_threshold: Percent above which the CPU counts as busy.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    needs_gpu: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Move work from the CPU to the GPU (data.residency=device), keep decoded pictures (data.cache=auto), or take "
        "more cores."
    )
    threshold: float = 50.0
    gpu_threshold: float = 10.0
    cpu_threshold: float = 90.0

    def judge(self, samples: list[SystemSample]) -> str:
        """Count samples with a busy CPU and an idle GPU."""
        hits = [
            bool(sample.gpu)
            and 100 * max(sample.gpu) < self.gpu_threshold
            and 100 * float(np.mean(sample.cpu)) > self.cpu_threshold
            for sample in samples
        ]
        share = 100 * float(np.mean(hits))
        return f"in {share:.0f} % of the samples the CPU was busy and the GPU idle" if share > self.threshold else ""


@dataclass
class IoBottleneck(_Windowed):
    """Fires when the GPU waits for disks.

    Args:
        threshold: Percent of the samples.
        io_threshold: Percent of waiting for disks above which a sample counts.
        gpu_threshold: Percent below which a GPU counts as waiting.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    advice: ClassVar[str] = (
        "Keep decoded pictures on a fast disk (data.cache=DIR) or on the GPU (data.residency=device)."
    )
    threshold: float = 50.0
    io_threshold: float = 50.0
    gpu_threshold: float = 10.0

    def judge(self, samples: list[SystemSample]) -> str:
        """Count samples that wait for disks with an idle GPU, or without one."""
        hits = [
            100 * sample.io_wait > self.io_threshold and (not sample.gpu or 100 * max(sample.gpu) < self.gpu_threshold)
            for sample in samples
        ]
        share = 100 * float(np.mean(hits))
        return f"in {share:.0f} % of the samples cores waited for disks" if share > self.threshold else ""


@dataclass
class LowGpuUtilization(_Windowed):
    """Fires when a GPU is mostly idle, or now busy, now idle.

    Args:
        threshold_p95: Percent that the 95th percentile of utilisation should reach.
        threshold_p5: Percent that its 5th percentile should reach where the 95th does.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    needs_gpu: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Raise data.batch_size (or data.micro_batch_size, if it is set), see whether training waits for pictures (rule "
        "dataloader), or take a smaller GPU."
    )
    threshold_p95: float = 70.0
    threshold_p5: float = 10.0

    def judge(self, samples: list[SystemSample]) -> str:
        """Look at both percentiles of each GPU."""
        for gpu in range(min((len(sample.gpu) for sample in samples), default=0)):
            low, high = 100 * np.percentile([sample.gpu[gpu] for sample in samples], [5, 95])
            if high < self.threshold_p95:
                return f"GPU {gpu} is busy for at most {high:.0f} % of the time (95th percentile)"
            if low < self.threshold_p5:
                return f"GPU {gpu} is now idle, now busy: {low:.0f} % and {high:.0f} % (5th and 95th percentile)"
        return ""


@dataclass
class BatchSize(_Windowed):
    """Fires when CPU, GPU and its memory all have room left: larger batches would be quicker.

    Args:
        cpu_threshold_p95: Percent that the CPU's 95th percentile stays below.
        gpu_threshold_p95: Percent that the GPU's does.
        gpu_memory_threshold_p95: Percent that its memory's does.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    needs_gpu: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Raise data.batch_size, and optim.lr with it (or data.micro_batch_size, if it is set), or take a smaller GPU."
    )
    cpu_threshold_p95: float = 70.0
    gpu_threshold_p95: float = 70.0
    gpu_memory_threshold_p95: float = 70.0

    def judge(self, samples: list[SystemSample]) -> str:
        """Look at all three."""
        if not all(sample.gpu and sample.gpu_memory for sample in samples):
            return ""
        cpu = 100 * np.percentile([np.mean(sample.cpu) for sample in samples], 95)
        gpu = 100 * np.percentile([max(sample.gpu) for sample in samples], 95)
        memory = 100 * np.percentile([max(sample.gpu_memory) for sample in samples], 95)
        limits = (self.cpu_threshold_p95, self.gpu_threshold_p95, self.gpu_memory_threshold_p95)
        if any(value >= limit for value, limit in zip((cpu, gpu, memory), limits, strict=True)):
            return ""
        return f"95th percentiles: CPU {cpu:.0f} %, GPU {gpu:.0f} %, GPU memory {memory:.0f} %"


@dataclass
class LoadBalancing(_Windowed):
    """Fires when GPUs of one machine are not equally busy.

    Args:
        threshold: Largest difference of two GPUs' mean utilisation, 0..1.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    needs_gpu: ClassVar[bool] = True
    advice: ClassVar[str] = "One GPU does more than the others: look for other processes on it."
    threshold: float = 0.2

    def judge(self, samples: list[SystemSample]) -> str:
        """Compare means."""
        count = min((len(sample.gpu) for sample in samples), default=0)
        means = [float(np.mean([sample.gpu[gpu] for sample in samples])) for gpu in range(count)]
        if count < 2 or max(means) - min(means) <= self.threshold:
            return ""
        return "mean utilisation of the GPUs: " + ", ".join(f"{100 * mean:.0f} %" for mean in means)


@dataclass
class GpuMemoryIncrease(_Windowed):
    """Fires when the memory of a GPU fills up more and more.

    Args:
        increase: Percent of the memory by which the last tenth of a window may lie above the first.
        window: Samples that are judged.
        patience: Samples that are let pass.
    """

    needs_gpu: ClassVar[bool] = True
    advice: ClassVar[str] = "Something keeps tensors that it should let go: look for lists of losses in your callbacks."
    increase: float = 5.0

    def judge(self, samples: list[SystemSample]) -> str:
        """Compare beginning and end."""
        tenth = max(1, len(samples) // 10)
        for gpu in range(min((len(sample.gpu_memory) for sample in samples), default=0)):
            used = 100 * np.asarray([sample.gpu_memory[gpu] for sample in samples])
            before, after = used[:tenth].mean(), used[-tenth:].mean()
            if after - before > self.increase:
                return f"memory of GPU {gpu} has grown from {before:.0f} % to {after:.0f} %"
        return ""


@dataclass
class OverallSystemUsage(_Windowed):
    """Never fires: it is there for the report's table of utilisation."""

    def judge(self, samples: list[SystemSample]) -> str:
        """Find nothing wrong."""
        return ""
