"""Requests on their way, and a line in which they take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from dogbreed.serving.answers import Answer
from dogbreed.serving.errors import RequestError
from dogbreed.serving.pictures import View
from dogbreed.serving.requests import Request

T = TypeVar("T")
Outcomes = asyncio.Future[list[Answer | RequestError]]


class Ticket:
    """A request on its way; made by `Batcher.submit`.

    Args:
        body: As it came.
        content_type: Of the header.
        options: As `read_request` takes them.
        future: Gets the outcomes, one a picture, or a `RequestError` for the whole request.
    """

    def __init__(self, body: bytes, content_type: str, options: Mapping[str, str], future: Outcomes) -> None:
        self.body = body
        self.content_type = content_type
        self.options = options
        self.future = future
        self.request: Request | None = None
        self.outcomes: list[Answer | RequestError | None] = [None]
        self.error: RequestError | None = None
        self.num_open = 1
        self.is_over = False

    def hand_over(self) -> None:
        """Tell who waits; on the event loop."""
        if self.future.done():  # cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result([outcome for outcome in self.outcomes if outcome is not None])


@dataclass(frozen=True)
class Ready:
    """A picture that waits for the network.

    Args:
        number: Which one of its request.
        request: That request.
        view: What the network sees.
        since: When it was decoded, `time.perf_counter`.
    """

    number: int
    request: Request
    view: View
    since: float


class FairQueue(Generic[T]):
    """Items of several owners, who take turns; not safe for threads by itself."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Ticket, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, owner: Ticket, item: T) -> None:
        """Add an item behind its owner's others."""
        self._waiting.setdefault(owner, deque()).append(item)
        self._size += 1

    def take(self, wanted: Callable[[Ticket], bool] | None = None) -> tuple[Ticket, T] | None:
        """Remove the next item, whose owner then goes to the end of the line.

        Args:
            wanted: Whose items come into question; all by default.
        """
        owner = next((owner for owner in self._waiting if wanted is None or wanted(owner)), None)
        if owner is None:
            return None
        items = self._waiting.pop(owner)
        item = items.popleft()
        if items:
            self._waiting[owner] = items
        self._size -= 1
        return owner, item

    def first(self) -> Ticket | None:
        """Return whose turn it is."""
        return next(iter(self._waiting), None)

    def drop(self, owner: Ticket) -> None:
        """Remove all of an owner's items."""
        self._size -= len(self._waiting.pop(owner, ()))
