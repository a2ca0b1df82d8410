"""A job's log in CloudWatch: every machine's stream, page by page, without a lost or a doubled line.

A position holds for each stream the API's forward token, the time of the last line read and how many lines of that time
were read. Tokens are refused after a day; then reading goes on from the time, and what was read of it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launch.aws.transient import watching
from launch.protocols import LogLine, LogPosition

LOG_GROUP, TRANSFORM_GROUP = "/aws/sagemaker/TrainingJobs", "/aws/sagemaker/TransformJobs"
MAX_LINES = 10_000  # of one answer of GetLogEvents


@dataclass(frozen=True)
class _Mark:
    """How far one stream has been read.

    Args:
        token: The API's; empty before the first page.
        time_ms: Of the last line.
        count: Lines of that time that were read.
        start_ms: Where reading began anew; it goes with each token of that reading. 0 for the beginning.
    """

    token: str = ""
    time_ms: int = 0
    count: int = 0
    start_ms: int = 0

    @classmethod
    def of(cls, text: str | None) -> _Mark:
        return cls(*json.loads(text)) if text else cls()

    def __str__(self) -> str:
        return json.dumps([self.token, self.time_ms, self.count, self.start_ms])

    def after(self, token: str, events: list[dict[str, Any]]) -> _Mark:
        if not events:
            return replace(self, token=token)
        last_ms = int(events[-1]["timestamp"])
        count = sum(event["timestamp"] == last_ms for event in events)
        count += self.count if last_ms == self.time_ms else 0
        return replace(self, token=token, time_ms=last_ms, count=count)


def read_log(
    logs: Any, name: str, position: LogPosition | None, group: str = LOG_GROUP
) -> tuple[list[LogLine], LogPosition]:
    """Read the next page of each of a job's streams.

    Args:
        logs: A boto3 client of CloudWatch's logs.
        name: The job's.
        position: Where the last call has come to; None for the beginning.
        group: Of logs, that jobs of its kind have.

    Returns:
        Lines, at most 10,000, by time, then stream; and how far that is. A position that does not change any more is
        the log's end for now: an empty page may come before that.

    Raises:
        TransientError: CloudWatch cannot be reached for now.
        UserError: it refuses.
    """
    tokens = dict(position.tokens) if position else {}
    found: list[tuple[int, str, LogLine]] = []
    with watching(f"reading the log of {name}"):
        streams = list(_streams(logs, name, group))
        for stream in streams:
            host = stream.rpartition("/")[2].rpartition("-")[0]
            events, mark = _page(logs, group, stream, _Mark.of(tokens.get(stream)), max(1, MAX_LINES // len(streams)))
            tokens[stream] = str(mark)
            for event in events:
                line = LogLine(host, int(event["timestamp"]), event["message"].rstrip("\n"))
                found.append((line.time_ms, stream, line))
    found.sort(key=lambda item: item[:2])
    return [line for _, _, line in found], LogPosition(tokens)


def _streams(logs: Any, name: str, group: str) -> Iterator[str]:
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=group, logStreamNamePrefix=f"{name}/", orderBy="LogStreamName"
    )
    try:
        for page in pages:
            yield from (stream["logStreamName"] for stream in page["logStreams"])
    except logs.exceptions.ResourceNotFoundException:  # no job has ever run in this account
        return


def _page(logs: Any, group: str, stream: str, mark: _Mark, limit: int) -> tuple[list[dict[str, Any]], _Mark]:
    asked: dict[str, Any] = {
        "logGroupName": group,
        "logStreamName": stream,
        "startFromHead": True,
        "limit": limit,
        **({"startTime": mark.start_ms} if mark.start_ms else {}),
    }
    try:
        answer = logs.get_log_events(**asked, **({"nextToken": mark.token} if mark.token else {}))
    except logs.exceptions.ResourceNotFoundException:  # gone between the two questions
        return [], mark
    except logs.exceptions.InvalidParameterException:
        if not mark.token:
            raise
        return _from_time(logs, asked, mark)
    return answer["events"], mark.after(answer["nextForwardToken"], answer["events"])


def _from_time(logs: Any, asked: Mapping[str, Any], mark: _Mark) -> tuple[list[dict[str, Any]], _Mark]:
    """Go on without the token: from the last line's time, less the lines of it that were read."""
    asked = {**asked, "startTime": mark.time_ms}
    mark = replace(mark, start_ms=mark.time_ms)
    answer = logs.get_log_events(**asked)
    num_left = mark.count
    while True:
        token, events = answer["nextForwardToken"], answer["events"]
        num_known = min(num_left, sum(event["timestamp"] == mark.time_ms for event in events))
        num_left -= num_known
        if num_known < len(events) or not events or not num_left:
            return events[num_known:], mark.after(token, events[num_known:])
        # A whole page of what was read already, all of one millisecond.
        answer = logs.get_log_events(**asked, nextToken=token)
