"""What the machine does while a run trains, looked at now and then by a thread of its own."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dogbreed.diagnosis.observations import Silence, SystemSample

log = logging.getLogger(__name__)
# A shorter one is nothing to talk about.
SILENCE_S = 1.0
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
        """Return a row of ``system.csv``: shares in 0..1, memory in GB, flows in MB a second."""
        sample = self.sample
        cores = {f"cpu{number}": round(share, 3) for number, share in enumerate(sample.cpu)}
        gpus = {f"gpu{number}": round(share, 3) for number, share in enumerate(sample.gpu)}
        memory = {f"gpu{number}_memory": round(share, 3) for number, share in enumerate(sample.gpu_memory)}
        begin = {"seconds": round(self.seconds, 2), "step": sample.step, "io_wait": round(sample.io_wait, 3)}
        traffic = (*sample.disk_bytes_s, *sample.network_bytes_s)
        names = ("disk_read_mb_s", "disk_write_mb_s", "net_receive_mb_s", "net_send_mb_s")
        flows = {name: round(value / 1e6, 3) for name, value in zip(names, traffic, strict=True)}
        return {**begin, "memory_gb": round(sample.memory_bytes / 1e9, 3), **flows, **cores, **gpus, **memory}


class SystemSampler:
    """Takes samples until it is stopped; Linux only, elsewhere there are none.

    Args:
        every_s: Time between two samples, > 0.
        device: The GPUs are looked at where it is one.
        on_silence: Is told, from the thread, for how many seconds `alive` has not been called.
    """

    def __init__(self, every_s: float, device: torch.device, on_silence: Callable[[Silence], None]) -> None:
        self._step = 0
        self._heard_at = time.perf_counter()
        self._on_silence = on_silence
        self._every_s = every_s
        self._gpus = torch.cuda.device_count() if device.type == "cuda" else 0
        self._samples: deque[Moment] = deque()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system sampler", daemon=True)
        if _STAT.exists():
            self._thread.start()

    def alive(self, step: int) -> None:
        """Say that the run moves, and how many steps it has made."""
        self._step, self._heard_at = step, time.perf_counter()

    def take(self) -> list[Moment]:
        """Return what has come in since the last call."""
        return [self._samples.popleft() for _ in range(len(self._samples))]

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        began = time.perf_counter()
        before = Counters.read()
        while not self._end.wait(self._every_s):
            now = Counters.read()
            with suppress(OSError):
                self._samples.append(Moment(now.seconds - began, self._sample(before, now)))
            before = now
            silent_s = time.perf_counter() - self._heard_at
            if silent_s > SILENCE_S:
                self._on_silence(Silence(self._step, silent_s, _place_of_main_thread()))

    def _sample(self, before: Counters, after: Counters) -> SystemSample:
        busy, waits = _core_shares(before.cores, after.cores)
        passed_s = after.seconds - before.seconds
        flows = [(now - then) / passed_s for then, now in zip(before.flows, after.flows, strict=True)]
        memory = int(_STATM.read_text().split()[1]) * resource.getpagesize()
        waiting = sum(waits) / max(1, len(waits))
        disk, network = (flows[0], flows[1]), (flows[2], flows[3])
        return SystemSample(self._step, busy, waiting, memory, *self._look_at_gpus(), disk, network)

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


class Counters(NamedTuple):
    """What the system has counted since it began.

    Args:
        seconds: When it was asked.
        cores: Ticks of each core that we may use, by what they were spent on (man 5 proc_stat).
        flows: Bytes that this process has read from disks and written, and that this machine has received and sent.
    """

    seconds: float
    cores: dict[str, list[int]]
    flows: tuple[int, int, int, int]

    @classmethod
    def read(cls) -> Counters:
        """Ask."""
        return cls(time.perf_counter(), _core_times(), (*_disk_bytes(), *_network_bytes()))


def _core_shares(
    before: dict[str, list[int]], now: dict[str, list[int]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the shares of time that cores were busy, and that they waited for disks."""
    busy, waits = [], []
    for core in sorted(now.keys() & before.keys(), key=lambda name: int(name[3:])):
        passed = [after - then for after, then in zip(now[core], before[core], strict=True)]
        total = max(1, sum(passed[:8]))  # what guests take is in the users' share, too
        idle, wait = passed[3], passed[4]
        busy.append(min(1.0, max(0.0, 1 - (idle + wait) / total)))
        waits.append(wait / total)
    return tuple(busy), tuple(waits)


def _core_times() -> dict[str, list[int]]:
    """Read what each core that we may use has done so far, in ticks (man 5 proc_stat)."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = (line.split() for line in _STAT.read_text().splitlines())
    return {words[0]: [int(word) for word in words[1:]] for words in lines if words and words[0] in ours}


def _disk_bytes() -> tuple[int, int]:
    """Read what this process has had from disks and given them; 0 where it may not be asked (man 5 proc_pid_io)."""
    try:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["read_bytes"]), int(counts["write_bytes"])
    except (OSError, KeyError, ValueError):
        return 0, 0


def _network_bytes() -> tuple[int, int]:
    """Read what has come in and gone out, but not to this machine itself (man 5 proc_pid_net)."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()[2:]
        rows = [(name.strip(), counts.split()) for name, _, counts in (line.partition(":") for line in lines)]
        ours = [counts for name, counts in rows if name != "lo"]
        return sum(int(counts[0]) for counts in ours), sum(int(counts[8]) for counts in ours)
    except (OSError, IndexError, ValueError):
        return 0, 0


def _place_of_main_thread() -> str:
    """Return the innermost line that the main thread is in, and the innermost of ours."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 -- the documented way
    calls = [(at.f_code, line) for at, line in traceback.walk_stack(frame)] if frame else []
    ours = [call for call in calls if f"{os.sep}dogbreed{os.sep}" in call[0].co_filename]
    inner = (*calls[:1], *ours[:1])
    places = (f"{Path(code.co_filename).name}:{line} ({code.co_name})" for code, line in inner)
    return ", called by ".join(dict.fromkeys(places))
