"""Connections to clients that may be slow, many, or hostile: uvicorn's, with the limits that it lacks.

uvicorn bounds neither the time that a request's headers may take, nor that of a client that takes in no answer, and
at its limit on connections it refuses everybody, the health check first.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from dogbreed.serving.web.guards import SECURITY_HEADERS
from dogbreed.serving.web.settings import Bounds

SWEEP_EVERY_S = 0.5
# Younger ones than this are not called slow.
_SLOW_S = 1.0
# How long a refused client may take to read why.
_LINGER_S = 1.0
MAX_HEAD_BYTES = 32 * 1024


class Doorman:
    """Knows all connections, and closes those that take too much.

    Args:
        bounds: What they may take.
        state: uvicorn's, with its connections.
    """

    def __init__(self, bounds: Bounds, state: ServerState) -> None:
        self.bounds = bounds
        self.num_refused = self.num_evicted = self.num_timed_out = 0
        self._state = state

    @property
    def connections(self) -> list[GuardedProtocol]:
        """All that are open."""
        return [connection for connection in self._state.connections if isinstance(connection, GuardedProtocol)]

    def has_room(self) -> bool:
        """Say whether a new connection can stay, which is among the others already; for it one may have to go."""
        if len(self._state.connections) <= self.bounds.max_connections:
            return True
        now = asyncio.get_running_loop().time()
        others = [connection for connection in self.connections if not connection.transport.is_closing()]
        idle = [connection for connection in others if connection.is_idle]
        slow = [connection for connection in others if connection.is_sending and now - connection.since > _SLOW_S]
        for candidates in (idle, slow):
            if candidates:
                min(candidates, key=lambda connection: connection.since).transport.abort()
                self.num_evicted += 1
                return True
        self.num_refused += 1
        return False

    async def watch(self) -> None:
        """Look after the connections until cancelled."""
        while True:
            now = asyncio.get_running_loop().time()
            for connection in self.connections:
                connection.check(now)
            await asyncio.sleep(SWEEP_EVERY_S)


class GuardedProtocol(H11Protocol):
    """A connection.

    Args:
        doorman: Watches over it.
        options: uvicorn's.
    """

    def __init__(self, doorman: Doorman, **options: Any) -> None:
        super().__init__(**options)
        self._doorman = doorman
        self._known_cycle: object = None
        self._head_since: float | None = None
        self._refused_since: float | None = None
        self._stalled_since: float | None = None
        self._unsent_bytes = 0
        self.since = self.loop.time()  # of what goes on at present

    @property
    def is_busy(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_idle(self) -> bool:
        """Nothing has come since the last answer."""
        return not self.is_busy and self._head_since is None and self._refused_since is None

    @property
    def is_sending(self) -> bool:
        """The client has begun a request and not ended it."""
        return self._head_since is not None or (self.is_busy and self.cycle.more_body)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take in a client, or refuse it."""
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if not self._doorman.has_room():
            self._refused_since = self.loop.time()
            self._say(429, "Too many connections: try again later.", retry=True)
            if len(self.connections) > 1.25 * self._doorman.bounds.max_connections:
                transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of a request."""
        if self._refused_since is not None:
            return
        if not self.is_busy and self._head_since is None:
            self._head_since = self.since = self.loop.time()
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # nonsense after the beginning of our answer
            self.transport.abort()
        self._note()

    def on_response_complete(self) -> None:
        """Go over to the next request."""
        super().on_response_complete()
        self._note()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer is on its way already
            self.transport.abort()
            return
        self.conn.send_failed()
        if self.is_busy:  # its body was nonsense
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._say(400, "This is not an HTTP request, or its headers are too long.")
        self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, after the answer that is being made."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:  # it was refused
            self.transport.close()

    def check(self, now: float) -> None:
        """Close the connection if it takes too much; every `SWEEP_EVERY_S`."""
        bounds = self._doorman.bounds
        self._watch_output(now)
        if self._refused_since is not None and now - self._refused_since > _LINGER_S:
            self.transport.close()
        elif self._head_since is not None and now - self._head_since > bounds.head_timeout_s:
            self._head_since = None
            self._doorman.num_timed_out += 1
            self._say(408, f"The request's headers did not come within {bounds.head_timeout_s:g} seconds.")
            self.transport.close()

    def _watch_output(self, now: float) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes == 0 or unsent_bytes < self._unsent_bytes:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now
        elif now - self._stalled_since > self._doorman.bounds.stall_timeout_s:
            self._doorman.num_timed_out += 1
            self.transport.abort()
        self._unsent_bytes = unsent_bytes

    def _note(self) -> None:
        """Notice the beginning and the end of a request."""
        if self.is_busy:
            self._head_since = None
            if self.cycle is not self._known_cycle:
                self._known_cycle, self.since = self.cycle, self.loop.time()
        elif self._known_cycle is not None:
            self._known_cycle, self.since = None, self.loop.time()

    def _say(self, status: int, sentence: str, *, retry: bool = False) -> None:
        """Write an answer past uvicorn, where no request has been understood."""
        if self.transport.is_closing():
            return
        body = json.dumps({"error": sentence}).encode()
        headers = [*SECURITY_HEADERS, (b"content-type", b"application/json"), (b"connection", b"close")]
        headers += [(b"content-length", str(len(body)).encode())] + [(b"retry-after", b"1")] * retry
        phrases = {400: b"Bad Request", 408: b"Request Timeout", 429: b"Too Many Requests"}
        lines = [b"HTTP/1.1 %d %b" % (status, phrases[status]), *(b"%b: %b" % header for header in headers), b"", body]
        self.transport.write(b"\r\n".join(lines))
