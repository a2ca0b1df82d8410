"""One life of a job's machines: from a filled disk to the last line, or to the moment they are taken away."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.standin.cloudlog import MAX_EVENTS, MetricReader, Stream
from launch.standin.host import Host, Lines
from launch.standin.job import TrainingJob
from launch.standin.transfer import FolderSync
from launch.toolkit.layout import host_names
from launch.toolkit.process import free_port

# Seconds between two looks at checkpoints, at whether to stop, at new lines.
SYNC_S = 1.0
TICK_S = 0.05
# Seconds in which the pipe of a killed container must have come to its end.
PIPE_S = 5.0
# Amazon gives a container 120 s after SIGTERM. The toolkit, the container's first process, neither passes it on nor
# ends by it, so that the script sees nothing of it and trains on; here it does so for a second.
GRACE_S = 1.0


@dataclass(frozen=True)
class Ending:
    """How a life ended.

    Args:
        kind: ``completed``, ``failed``, ``stopped``, or ``interrupted``: the machine was taken away.
        reason: Of a failure, as DescribeTrainingJob tells it.
        phase: The secondary status, where it is not the status.
    """

    kind: str
    reason: str = ""
    phase: str | None = None


class Attempt:
    """Starts a container on each machine and watches them.

    Args:
        job: Whose.
        folder: Each machine gets a folder in it, its ``/opt/ml``.
        environment: What the containers get beside the request's own.
        logs: A boto3 client.
        metrics: Reads numbers out of lines.
        interrupt_on: The machines are taken away at a line that holds this text; empty for never.
        closing: Set when the stand-in ends.
    """

    def __init__(
        self,
        job: TrainingJob,
        folder: Path,
        environment: Mapping[str, str],
        logs: Any,
        metrics: MetricReader,
        interrupt_on: str,
        closing: threading.Event,
    ) -> None:
        self.folder = folder
        self._job = job
        self._metrics = metrics
        self._logs = logs
        self._interrupt_on = interrupt_on
        self._closing = closing
        # Bounded, so that who prints faster than the log takes it has to wait, as for a full pipe.
        self._lines: Lines = queue.Queue(MAX_EVENTS)
        self.hosts = [
            Host(name, index, folder / name, job.request, environment, self._lines)
            for index, name in enumerate(host_names(job.request))
        ]
        self._streams: dict[str, Stream] = {}
        self.syncs: list[FolderSync] = []

    def run(self, python: Path) -> Ending:
        """Start the containers and stay until the end.

        Args:
            python: Interpreter of the toolkit's environment.
        """
        job = self._job
        job.enter("Training")
        self._streams = {host.name: Stream(self._logs, job.training_job_name, host.name) for host in self.hosts}
        limits = job.request.get("StoppingCondition") or {}
        deadline = time.monotonic() + limits.get("MaxRuntimeInSeconds", 86_400)
        master_port = free_port()
        for host in self.hosts:
            host.start(python, master_port)
        next_sync = time.monotonic() + SYNC_S
        while True:
            ending = self._look(deadline)
            if time.monotonic() >= next_sync or ending:
                self._push()
                next_sync = time.monotonic() + SYNC_S
            if ending:
                if ending.kind == "stopped":
                    self._stop()
                self.kill()
                self._drain_rest()
                return ending

    def kill(self) -> None:
        """Kill what still runs, as a power cut would."""
        for host in self.hosts:
            host.kill()

    def _look(self, deadline: float) -> Ending | None:
        """Pass on what was printed and say whether this is the end."""
        is_interrupted = self._drain(TICK_S)
        if is_interrupted:
            return Ending("interrupted")
        if self._job.stop_asked.is_set() or self._closing.is_set():
            return Ending("stopped")
        if time.monotonic() > deadline:
            return Ending("stopped", phase="MaxRuntimeExceeded")
        codes = [host.poll() for host in self.hosts]
        for host, code in zip(self.hosts, codes, strict=True):
            if code:
                return Ending("failed", f"AlgorithmError: {host.failure()}, exit code: {code}")
        return Ending("completed") if all(code == 0 for code in codes) else None

    def _drain(self, wait_s: float) -> bool:
        """Send on the lines of a moment; say whether the machines are taken away."""
        batches: dict[str, list[tuple[int, str]]] = {}
        is_interrupted = False
        end = time.monotonic() + wait_s
        for _ in range(MAX_EVENTS):
            try:
                host, time_ms, text = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            batches.setdefault(host, []).append((time_ms, text))
            self._metrics.read(text, self._job)
            is_interrupted = bool(self._interrupt_on) and self._interrupt_on in text
            if is_interrupted:
                break
        for name, lines in batches.items():
            self._streams[name].write(lines)
        return is_interrupted

    def _drain_rest(self) -> None:
        """Send on what is left in the pipes."""
        self._interrupt_on = ""
        end = time.monotonic() + PIPE_S
        while time.monotonic() < end and not (self._lines.empty() and all(host.is_drained for host in self.hosts)):
            self._drain(TICK_S)
        for host in self.hosts:
            host.abandon()

    def _push(self) -> None:
        for sync in self.syncs:
            sync.push()

    def _stop(self) -> None:
        """Let the containers have their grace, and save what they have come to."""
        end = time.monotonic() + GRACE_S
        while time.monotonic() < end and any(host.poll() is None for host in self.hosts):
            self._drain(TICK_S)
        self._push()
