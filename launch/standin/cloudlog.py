"""What a job prints: lines into CloudWatch's streams, numbers out of lines."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from launch.standin.job import TrainingJob

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# PutLogEvents: events and bytes a request; what an event costs beside its text.
MAX_EVENTS = 10_000
MAX_BYTES = 1_048_576
EVENT_BYTES = 26
MAX_LINE_BYTES = 262_144 - EVENT_BYTES


class Stream:
    """The log stream of one machine's life, ``JOB/algo-1-1795312345``.

    Args:
        logs: A boto3 client.
        job: Name.
        host: ``algo-1``.
        group: That the stream belongs to.
    """

    def __init__(self, logs: Any, job: str, host: str, group: str = LOG_GROUP) -> None:
        self._logs = logs
        self._group = group
        self._last_ms = 0
        stamp = int(time.time())
        while True:
            self.name = f"{job}/{host}-{stamp}"
            try:
                logs.create_log_stream(logGroupName=group, logStreamName=self.name)
            except logs.exceptions.ResourceAlreadyExistsException:
                stamp += 1
            else:
                return

    def write(self, lines: Sequence[tuple[int, str]]) -> None:
        """Send lines with their times; empty ones are left out, long ones cut, as the containers' log driver does."""
        batch: list[dict[str, Any]] = []
        num_bytes = 0
        for time_ms, text in lines:
            self._last_ms = max(self._last_ms, time_ms)
            for piece in _pieces(text):
                size = len(piece.encode()) + EVENT_BYTES
                if batch and (len(batch) == MAX_EVENTS or num_bytes + size > MAX_BYTES):
                    self._put(batch)
                    batch, num_bytes = [], 0
                batch.append({"timestamp": self._last_ms, "message": piece})
                num_bytes += size
        if batch:
            self._put(batch)

    def _put(self, batch: list[dict[str, Any]]) -> None:
        self._logs.put_log_events(logGroupName=self._group, logStreamName=self.name, logEvents=batch)


def make_group(logs: Any, group: str = LOG_GROUP) -> None:
    """Make a log group, that of all training jobs, if it is not there."""
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)


def _pieces(text: str) -> list[str]:
    width = MAX_LINE_BYTES // 4  # characters of at most four bytes
    return [text[start : start + width] for start in range(0, len(text), width)]


class MetricReader:
    """Applies a request's metric definitions to lines.

    Args:
        request: CreateTrainingJob's.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        definitions = request["AlgorithmSpecification"].get("MetricDefinitions") or ()
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]

    def read(self, line: str, job: TrainingJob) -> None:
        """Give the job every metric that a line holds; what is no finite number is none."""
        for name, pattern in self._patterns:
            found = pattern.search(line)
            if not found or not found.groups():
                continue
            try:
                value = float(found.group(1))
            except ValueError:
                continue
            if math.isfinite(value):
                job.record_metric(name, value)
