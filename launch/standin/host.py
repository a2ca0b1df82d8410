"""One machine of a job: the real training toolkit in a process, on a folder that stands for ``/opt/ml``."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.toolkit.layout import lay_out
from launch.toolkit.process import ToolkitProcess, start

Lines = queue.Queue[tuple[str, int, str]]
PUT_S = 0.2


class Host:
    """A machine from its empty disk to its end.

    Args:
        name: ``algo-1``.
        index: Which of the job's machines it is, from 0.
        base: Stands for ``/opt/ml``.
        request: CreateTrainingJob's.
        environment: What the container gets beside the request's own variables.
        lines: Where what it prints goes: its name, milliseconds since 1970, the line.
    """

    def __init__(
        self,
        name: str,
        index: int,
        base: Path,
        request: Mapping[str, Any],
        environment: Mapping[str, str],
        lines: Lines,
    ) -> None:
        self.name = name
        self.base = base
        self._index = index
        self._request = request
        self._environment = environment
        self._lines = lines
        self._process: ToolkitProcess | None = None
        self._reader: threading.Thread | None = None
        self._is_killed = threading.Event()

    def lay_out(self) -> None:
        """Write what SageMaker writes before a container starts; the channels' files are there already."""
        lay_out(self._request, self.base, host_index=self._index)

    def start(self, python: Path, master_port: int) -> None:
        """Start the container.

        Args:
            python: Interpreter of the toolkit's environment.
            master_port: Where the machines of the job meet.
        """
        self._process = start(self.base, self._request, python, environment=self._environment, master_port=master_port)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: ToolkitProcess) -> None:
        for text in process.lines():
            entry = (self.name, time.time_ns() // 1_000_000, text)
            while True:
                try:
                    self._lines.put(entry, timeout=PUT_S)
                    break
                except queue.Full:  # the log is slower than the job, which waits; unless nobody reads any more
                    if self._is_killed.is_set():
                        return

    def poll(self) -> int | None:
        """Return the container's exit code; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def is_drained(self) -> bool:
        """Say whether all that it has printed was handed on."""
        return self._reader is None or not self._reader.is_alive()

    def failure(self) -> str:
        """What the container says of why it failed: the failure file's beginning."""
        return (self._process.failure if self._process else None) or ""

    def kill(self) -> None:
        """Take the machine away."""
        if self._process:
            self._process.kill()

    def abandon(self) -> None:
        """Read no more of what it prints."""
        self._is_killed.set()
