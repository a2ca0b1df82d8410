"""Pictures of many requests, decoded by a few threads and answered in batches.

A batch leaves as soon as the network is free, with whatever is ready: an idle server answers one picture at once, a
busy one finds many waiting and answers them together. Requests take turns, picture by picture, so that one request
with many pictures holds up nobody. All that waits is bounded; what is beyond the bound is refused at once.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from dogbreed.serving.answers import Answer
from dogbreed.serving.computing import Predicts, Pulse, failure, predict_each
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.requests import Request, read_request
from dogbreed.serving.web.monitoring import Monitor
from dogbreed.serving.web.settings import Pace
from dogbreed.serving.web.tickets import FairQueue, Ready, Ticket


class Batcher:
    """Takes in requests on the event loop, and answers them in threads of its own.

    Args:
        predictor: Loaded and warmed up.
        pace: How pictures are put together.
        limits: What a request may hold.
        monitor: Is told of every batch.
        loop: Where requests come in.
    """

    def __init__(
        self, predictor: Predicts, pace: Pace, limits: Limits, monitor: Monitor, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._predictor, self._pace, self._limits, self._monitor = predictor, pace, limits, monitor
        self._loop = loop
        self._lock = threading.Lock()
        self._may_decode, self._may_run = threading.Condition(self._lock), threading.Condition(self._lock)
        self._encoded: FairQueue[int | None] = FairQueue()  # None stands for a body, which is to be read first
        self._ready: FairQueue[Ready] = FairQueue()
        self._num_admitted = self._num_decoding = self._num_running = 0
        self._is_closed = False
        self._pulse = Pulse()
        self._threads: list[threading.Thread] = []
        self._start(self._decode_on, pace.num_decoders)
        self._start(self._run_on, pace.num_lanes)

    @property
    def num_admitted(self) -> int:
        """Pictures that are taken in and not answered yet."""
        return self._num_admitted

    @property
    def is_healthy(self) -> bool:
        """Whether something could be computed of late."""
        return self._pulse.is_healthy

    def has_room(self) -> bool:
        """Say whether a picture would be taken in now."""
        return self._num_admitted < self._pace.max_queue

    def retry_after_s(self) -> int:
        """Estimate in how many seconds half of what waits is answered, >= 1."""
        return self._pulse.retry_after_s(self._num_admitted)

    def submit(self, body: bytes, content_type: str, options: Mapping[str, str]) -> Ticket:
        """Take in a request; on the event loop.

        Returns:
            A ticket, whose future gets an outcome for each picture.

        Raises:
            RequestError: 429, too much is waiting already.
        """
        ticket = Ticket(body, content_type, options, self._loop.create_future())
        with self._lock:
            self._admit(1)
            self._encoded.put(ticket, None)
            self._may_decode.notify()
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Forget a request whose client has gone, or waits no longer."""
        with self._lock:
            self._end(ticket)

    def close(self, timeout_s: float) -> bool:
        """End the threads; what waits is not answered any more. Returns whether they have ended in time."""
        with self._lock:
            self._is_closed = True
            self._may_decode.notify_all()
            self._may_run.notify_all()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self, work: Callable[[], None], count: int) -> None:
        have_begun = threading.Barrier(count + 1)

        def begin() -> None:
            torch.set_num_threads(1)  # of this thread
            have_begun.wait()
            work()

        for _ in range(count):
            self._threads.append(threading.Thread(target=begin, daemon=True))
            self._threads[-1].start()
        have_begun.wait()

    # What follows is called with the lock.

    def _admit(self, count: int) -> None:
        if self._num_admitted + count > self._pace.max_queue:
            raise RequestError(429, "The server is busy: try again later.")
        self._num_admitted += count

    def _end(self, ticket: Ticket) -> None:
        if not ticket.is_over:
            ticket.is_over = True
            ticket.body = b""
            self._num_admitted -= ticket.num_open
            self._encoded.drop(ticket)
            self._ready.drop(ticket)

    def _settle(self, ticket: Ticket, number: int, outcome: Answer | RequestError) -> bool:
        """Note a picture's outcome; True where it was the last one that somebody waits for."""
        if ticket.is_over:
            return False
        ticket.outcomes[number] = outcome
        ticket.num_open -= 1
        self._num_admitted -= 1
        if ticket.num_open == 0:
            self._end(ticket)
        return ticket.is_over

    # What follows runs in the threads that decode.

    def _decode_on(self) -> None:
        while True:
            with self._lock:
                while not (self._encoded or self._is_closed):
                    self._may_decode.wait()
                taken = None if self._is_closed else self._encoded.take()
                if taken is None:
                    return
                self._num_decoding += 1
            started = time.perf_counter()
            self._decode(*taken)
            self._monitor.decoded(time.perf_counter() - started)
            with self._lock:
                self._num_decoding -= 1
                self._may_run.notify()

    def _decode(self, ticket: Ticket, number: int | None) -> None:
        try:
            request = self._read(ticket) if number is None else ticket.request
        except RequestError as error:
            self._refuse(ticket, error)
            return
        if request is None:
            return
        number = number or 0
        try:
            view = self._predictor.view(request.pictures[number], self._limits)
        except RequestError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 -- of this picture alone
            outcome = failure(error)
        else:
            with self._lock:
                if not ticket.is_over:
                    self._ready.put(ticket, Ready(number, request, view, time.perf_counter()))
            return
        self._monitor.unreadable()
        with self._lock:
            is_last = self._settle(ticket, number, outcome)
        if is_last:
            self._resolve([ticket])

    def _read(self, ticket: Ticket) -> Request | None:
        """Read the body and put its pictures but the first in line; None if nobody waits for them any more."""
        try:
            request = read_request(ticket.body, ticket.content_type, ticket.options, self._limits)
        except RequestError:
            raise
        except Exception as error:
            raise failure(error) from error
        count = len(request.pictures)
        with self._lock:
            if ticket.is_over:
                return None
            self._admit(count - 1)
            ticket.body, ticket.request = b"", request
            ticket.outcomes, ticket.num_open = [None] * count, count
            for number in range(1, count):
                self._encoded.put(ticket, number)
            self._may_decode.notify(count - 1)
        return request

    def _refuse(self, ticket: Ticket, error: RequestError) -> None:
        with self._lock:
            is_wanted = not ticket.is_over
            self._end(ticket)
        if is_wanted:
            ticket.error = error
            self._resolve([ticket])

    # What follows runs in the threads that run the network.

    def _run_on(self) -> None:
        num_threads = 1
        while True:
            with self._lock:
                batch = self._next_batch()
                self._num_running += 1
                is_alone = self._num_running == 1 and not (self._num_decoding or self._encoded or self._ready)
            if not batch:
                return
            wanted = self._pace.num_threads if is_alone else 1
            if wanted != num_threads:
                torch.set_num_threads(num_threads := wanted)
            started = time.perf_counter()
            self._monitor.batch_started([started - item.since for _, item in batch])
            views, requests = [item.view for _, item in batch], [item.request for _, item in batch]
            outcomes = predict_each(self._predictor, views, requests)
            self._monitor.batch_ended(time.perf_counter() - started, outcomes)
            with self._lock:
                over = self._settle_batch(batch, outcomes, time.perf_counter() - started)
            self._resolve(over)

    def _settle_batch(
        self, batch: list[tuple[Ticket, Ready]], outcomes: list[Answer | RequestError], seconds: float
    ) -> list[Ticket]:
        """Note what came of a batch, with the lock; return the tickets that are answered now."""
        self._num_running -= 1
        self._pulse.beat(outcomes, seconds / len(batch) / self._pace.num_lanes)
        settled = zip(batch, outcomes, strict=True)
        return [ticket for (ticket, item), outcome in settled if self._settle(ticket, item.number, outcome)]

    def _next_batch(self) -> list[tuple[Ticket, Ready]]:
        """Wait for pictures, with the lock, and take them in turn; none when all is over."""
        until = math.inf
        while not self._is_closed:
            if not self._ready:
                self._may_run.wait()
                continue
            until = min(until, time.perf_counter() + self._pace.max_wait_ms / 1000)
            left = until - time.perf_counter()
            more_come = self._num_decoding > 0 or len(self._encoded) > 0
            if len(self._ready) >= self._pace.max_batch or not more_come or left <= 0:
                return self._take_batch()
            self._may_run.wait(left)
        return []

    def _take_batch(self) -> list[tuple[Ticket, Ready]]:
        """Take a share of what is ready, for each free lane has one: of those to be explained, or of the others."""
        num_free = max(self._pace.num_lanes - self._num_running, 1)
        size = min(math.ceil(len(self._ready) / num_free), self._pace.max_batch)
        explain = _explains(self._ready.first())
        batch: list[tuple[Ticket, Ready]] = []
        while len(batch) < size and (taken := self._ready.take(lambda owner: _explains(owner) == explain)):
            batch.append(taken)
        if self._ready:
            self._may_run.notify()
        return batch

    def _resolve(self, tickets: Sequence[Ticket]) -> None:
        if tickets and not self._is_closed:
            self._loop.call_soon_threadsafe(_hand_over, tickets)


def _explains(ticket: Ticket | None) -> bool:
    return ticket is not None and ticket.request is not None and ticket.request.explain


def _hand_over(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.hand_over()
