"""What stands between clients and the model: who may ask, how much may be sent, and how slowly."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from dogbreed.serving.errors import RequestError
from dogbreed.serving.web.settings import Bounds

Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = Mapping[bytes, bytes]

# Nothing from elsewhere, no script or style within a page, no frame around it, no guessing of types.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
# Of a refused body so much is read for the client to see the answer, which a closed connection would take from it.
DISCARD_S = 2.0


class ClientGoneError(Exception):
    """The client has closed its connection: there is nobody to answer."""


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
        [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_sender(headers: Headers) -> None:
    """Refuse what a page from elsewhere has a browser on this machine send; for servers that only this machine reaches.

    A name of the attacker's that leads to 127.0.0.1 shows in ``Host``, a page of theirs in ``Origin``.

    Raises:
        RequestError: 403.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_name_of(host)):
        msg = "This server answers to localhost and 127.0.0.1 alone: start it with --host ADDRESS for other names."
        raise RequestError(403, msg)
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").partition("://")[2].lower() != host.lower():
        raise RequestError(403, "Pages from elsewhere may not use this server.")


def _name_of(host: str) -> str:
    """Return a ``Host`` without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def has_body(headers: Headers) -> bool:
    """Say whether a request announces a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


async def discard(receive: Receive, max_bytes: int) -> bool:
    """Read the rest of a body without keeping it; False where it is too long or too slow for that."""
    num_bytes = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while num_bytes <= max_bytes:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGoneError
                num_bytes += len(message["body"])
                if not message["more_body"]:
                    return True
    return False


class Bodies:
    """All bodies that are read and held at a time.

    Args:
        bounds: How much that may be.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._timeouts: set[asyncio.Timeout] = set()
        self._has_to_hurry = False
        self.held_bytes = 0

    @property
    def num_reading(self) -> int:
        """Bodies that are being read."""
        return len(self._timeouts)

    def hurry(self) -> None:
        """Give those that are being read a little time yet: the server ends."""
        self._has_to_hurry = True
        until = asyncio.get_running_loop().time() + self._bounds.body_grace_s
        for timeout in self._timeouts:
            timeout.reschedule(min(until, timeout.when() or until))

    @contextmanager
    def held(self) -> Iterator[Body]:
        """Hold a body; outside, its bytes count no longer."""
        body = Body(self)
        try:
            yield body
        finally:
            self.held_bytes -= body.num_bytes

    async def read(self, body: Body, receive: Receive, headers: Headers) -> bytes:
        """Read a body whole.

        Args:
            body: What is held of it.
            receive: ASGI's.
            headers: Of the request.

        Raises:
            RequestError: 408, 413 or 429: it is too slow, too long, or one too many.
            ClientGoneError: there will be no more of it.
        """
        bounds = self._bounds
        limit = bounds.limits.max_body_bytes
        declared = headers.get(b"content-length", b"0")
        if len(declared) > 15 or int(declared) > limit:
            raise too_large(limit)
        if self.num_reading >= bounds.max_bodies:
            raise RequestError(429, "The server is reading too many requests: try again later.")
        parts: list[bytes] = []
        seconds = bounds.body_grace_s if self._has_to_hurry else bounds.body_timeout_s
        timeout = asyncio.timeout(seconds)
        self._timeouts.add(timeout)
        try:
            async with timeout:
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ClientGoneError
                    part = message["body"]
                    body.num_bytes += len(part)
                    self.held_bytes += len(part)
                    if body.num_bytes > limit:
                        raise too_large(limit)
                    if self.held_bytes > bounds.max_held_bytes:
                        raise RequestError(429, "The server's memory is full of requests: try again later.")
                    parts.append(part)
                    if not message["more_body"]:
                        return b"".join(parts) if len(parts) > 1 else part
        except TimeoutError:
            raise RequestError(408, f"The body did not come within {seconds:g} seconds.") from None
        finally:
            self._timeouts.discard(timeout)


class Body:
    """What is held of one body.

    Args:
        bodies: Where it is counted.
    """

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.num_bytes = 0

    async def read(self, receive: Receive, headers: Headers) -> bytes:
        """Read it whole; as `Bodies.read`."""
        return await self._bodies.read(self, receive, headers)


def too_large(limit_bytes: int) -> RequestError:
    """Return what is said of a body that is too long."""
    return RequestError(413, f"The body has more than the {limit_bytes:,} bytes that are taken.")
