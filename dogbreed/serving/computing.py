"""One forward pass for pictures of several requests, which fails for nobody but whose fault it is."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from dogbreed.serving.answers import Answer
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.pictures import View
from dogbreed.serving.requests import Request

log = logging.getLogger(__name__)

# So many batches in a row of which nothing could be computed, and a server calls itself ill.
MAX_FAILURES = 3
FAILED = "This could not be computed; the server's log says which error it was."


class Predicts(Protocol):
    """What answers: a `dogbreed.serving.predictor.Predictor`."""

    def view(self, picture: bytes | Tensor, limits: Limits) -> View:
        """Decode a picture and cut out what the network sees."""

    def predict_batch(self, views: Sequence[View], top_k: int = 5, explain: bool = False) -> list[Answer]:  # noqa: FBT001, FBT002
        """Answer for several pictures in one forward pass."""


class Pulse:
    """How a server fares: how fast it is, and whether anything could be computed of late.

    Args:
        seconds_per_picture: To begin with.
    """

    def __init__(self, seconds_per_picture: float = 0.02) -> None:
        self._seconds_per_picture = seconds_per_picture
        self.num_failures = 0

    @property
    def is_healthy(self) -> bool:
        """Whether one of the last `MAX_FAILURES` batches had an answer."""
        return self.num_failures < MAX_FAILURES

    def beat(self, outcomes: Sequence[Answer | RequestError], seconds_per_picture: float) -> None:
        """Note a batch.

        Args:
            outcomes: What came of it.
            seconds_per_picture: In which the server answered.
        """
        self._seconds_per_picture += 0.1 * (seconds_per_picture - self._seconds_per_picture)
        has_failed = all(isinstance(outcome, RequestError) for outcome in outcomes)
        self.num_failures = self.num_failures + 1 if has_failed else 0

    def retry_after_s(self, num_waiting: int) -> int:
        """Estimate in how many seconds half of the pictures that wait are answered, >= 1."""
        return max(1, math.ceil(num_waiting * self._seconds_per_picture / 2))


def predict_each(predictor: Predicts, views: Sequence[View], wishes: Sequence[Request]) -> list[Answer | RequestError]:
    """Answer for a batch; where that fails, for each picture by itself.

    Args:
        predictor: Answers.
        views: What the network sees, at least one.
        wishes: The request of each picture; all explain, or none does.

    Returns:
        One outcome a picture, in order; a `RequestError` where it could not be computed.
    """
    try:
        top_k, explain = max(request.top_k for request in wishes), wishes[0].explain
        answers = predictor.predict_batch(views, top_k, explain)
        return [answer.cut(request.top_k, explain=explain) for answer, request in zip(answers, wishes, strict=True)]
    except Exception as error:  # noqa: BLE001 -- whatever it is, nobody must wait for ever
        if len(views) == 1:
            return [failure(error)]
    alone = zip(views, wishes, strict=True)
    return [outcome for view, request in alone for outcome in predict_each(predictor, [view], [request])]


def failure(error: Exception) -> RequestError:
    """Turn our bug, or the machine's want of memory, into an answer; the log gets no part of the request."""
    log.error("%s", where_of(error))
    return RequestError(503, FAILED)


def where_of(error: BaseException) -> str:
    """Say what an error is and where it was raised, without its message, which may hold what a client has sent.

    Example:
        >>> where_of(ValueError("secret"))
        'ValueError'
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
