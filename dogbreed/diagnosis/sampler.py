"""What the machine does while a run trains, looked at now and then by a thread of its own."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dogbreed.diagnosis.observations import SystemSample

log = logging.getLogger(__name__)
_STAT, _STATM = Path("/proc/stat"), Path("/proc/self/statm")


class Moment(NamedTuple):
    """One sample and its time.

    Args:
        seconds: Since the sampler began.
        sample: What the machine did since the sample before.
    """

    seconds: float
    sample: SystemSample

    def row(self) -> dict[str, Any]:
        """Return a row of ``system.csv``: shares in 0..1, memory in GB."""
        sample = self.sample
        cores = {f"cpu{number}": round(share, 3) for number, share in enumerate(sample.cpu)}
        gpus = {f"gpu{number}": round(share, 3) for number, share in enumerate(sample.gpu)}
        memory = {f"gpu{number}_memory": round(share, 3) for number, share in enumerate(sample.gpu_memory)}
        begin = {"seconds": round(self.seconds, 2), "step": sample.step, "io_wait": round(sample.io_wait, 3)}
        return {**begin, "memory_gb": round(sample.memory_bytes / 1e9, 3), **cores, **gpus, **memory}


class SystemSampler:
    """Takes samples until it is stopped; Linux only, elsewhere there are none.

    Args:
        every_s: Time between two samples, > 0.
        device: The GPUs are looked at where it is one.
    """

    def __init__(self, every_s: float, device: torch.device) -> None:
        self.step = 0  # set from outside
        self._every_s = every_s
        self._gpus = torch.cuda.device_count() if device.type == "cuda" else 0
        self._samples: list[Moment] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system sampler", daemon=True)
        if _STAT.exists():
            self._thread.start()

    def take(self) -> list[Moment]:
        """Return what has come in since the last call."""
        taken, self._samples = self._samples, []
        return taken

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        began, before = time.perf_counter(), _core_times()
        while not self._end.wait(self._every_s):
            now = _core_times()
            with suppress(OSError):
                moment = Moment(time.perf_counter() - began, self._sample(before, now))
                self._samples = [*self._samples, moment]
            before = now

    def _sample(self, before: dict[str, list[int]], now: dict[str, list[int]]) -> SystemSample:
        busy, waits = [], []
        for core in sorted(now.keys() & before.keys(), key=lambda name: int(name[3:])):
            passed = [after - then for after, then in zip(now[core], before[core], strict=True)]
            total = max(1, sum(passed[:8]))  # what guests take is in the users' share, too
            idle, wait = passed[3], passed[4]
            busy.append(min(1.0, max(0.0, 1 - (idle + wait) / total)))
            waits.append(wait / total)
        memory = int(_STATM.read_text().split()[1]) * resource.getpagesize()
        return SystemSample(self.step, tuple(busy), sum(waits) / max(1, len(waits)), memory, *self._look_at_gpus())

    def _look_at_gpus(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the shares of time that GPUs were busy, and of their memory that is taken."""
        if not self._gpus:
            return (), ()
        import pynvml

        try:
            busy = tuple(torch.cuda.utilization(number) / 100 for number in range(self._gpus))
            free = [torch.cuda.mem_get_info(number) for number in range(self._gpus)]
        except (pynvml.NVMLError, RuntimeError) as error:
            log.warning("rules   the GPUs do not say what they do (%s): rules about them see nothing.", error)
            self._gpus = 0
            return (), ()
        return busy, tuple(1 - left / total for left, total in free)


def _core_times() -> dict[str, list[int]]:
    """Read what each core that we may use has done so far, in ticks (man 5 proc_stat)."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = (line.split() for line in _STAT.read_text().splitlines())
    return {words[0]: [int(word) for word in words[1:]] for words in lines if words and words[0] in ours}
