"""The web endpoint: SageMaker's contract and a page, as an ASGI application.

Written against ASGI itself: there are few routes, and each layer between a socket and the network costs every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from dogbreed.serving.answers import choose_type, write_answers, write_error
from dogbreed.serving.computing import failure
from dogbreed.serving.errors import RequestError
from dogbreed.serving.requests import read_custom_attributes
from dogbreed.serving.web.batching import Batcher
from dogbreed.serving.web.files import File
from dogbreed.serving.web.guards import SECURITY_HEADERS, Bodies, ClientGoneError, check_sender, discard, has_body
from dogbreed.serving.web.monitoring import CONTENT_TYPE, AccessLog, Monitor
from dogbreed.serving.web.settings import Bounds
from dogbreed.serving.web.tickets import Ticket

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_JSON = "application/json"
_MAX_QUERY_FIELDS = 20


@dataclass
class Reply:
    """An answer.

    Args:
        status: HTTP status.
        body: Bytes.
        content_type: Of the header.
        headers: Further ones.
    """

    status: int
    body: bytes
    content_type: str = _JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass
class Exchange:
    """A request that is being answered.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
    """

    scope: MutableMapping[str, Any]
    receive: Callable[[], Awaitable[dict[str, Any]]]
    send: Send
    headers: dict[bytes, bytes] = field(init=False)
    has_unread_body: bool = field(init=False)
    num_bytes: int = 0

    def __post_init__(self) -> None:
        self.headers = dict(self.scope["headers"])
        self.has_unread_body = has_body(self.headers)

    def header(self, name: bytes) -> str:
        """Return a header's value, empty where it is not there."""
        return self.headers.get(name, b"").decode("latin-1")


class Endpoint:
    """The ASGI application.

    Args:
        batcher: Answers.
        bounds: What clients may take.
        monitor: Counts.
        description: What ``/model`` says, as JSON.
        files: By path; the page.
        is_private: Only this machine may ask.
        access_log: None for none.
    """

    def __init__(
        self,
        batcher: Batcher,
        bounds: Bounds,
        monitor: Monitor,
        description: bytes,
        files: Mapping[str, File],
        *,
        is_private: bool,
        access_log: AccessLog | None = None,
    ) -> None:
        self._bodies = bodies = Bodies(bounds)
        self._batcher, self._bounds, self._monitor = batcher, bounds, monitor
        self._is_private, self._log = is_private, access_log
        self._is_ending = False
        self._gets: dict[str, Callable[[], Reply]] = {
            "/ping": self._ping,
            "/model": lambda: Reply(200, description),
            "/metrics": lambda: Reply(200, monitor.text(), CONTENT_TYPE),
        }
        for path, file in files.items():
            self._gets[path] = partial(_serve, file)
        monitor.watch("queue_pictures", "Pictures taken in and not answered yet.", lambda: batcher.num_admitted)
        monitor.watch("held_bytes", "Of requests' bodies in memory.", lambda: bodies.held_bytes)
        monitor.watch("reading_bodies", "Bodies that are being read.", lambda: bodies.num_reading)

    def end(self) -> None:
        """Finish what has begun; connections close after their answers."""
        self._is_ending = True
        self._bodies.hurry()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Answer a request, whatever it is."""
        started = time.perf_counter()
        exchange = Exchange(scope, receive, send)
        path = scope["path"]
        route = path if path == "/invocations" or path in self._gets else "other"
        try:
            reply = await self._reply_to(exchange, route)
            await self._send(exchange, reply)
        except ClientGoneError:
            reply = Reply(499, b"")  # nginx's number for it: there is no other
        seconds = time.perf_counter() - started
        self._monitor.answered(route, reply.status, seconds)
        if self._log:
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self._log.note(method, route, reply.status, seconds, exchange.num_bytes)

    async def _reply_to(self, exchange: Exchange, route: str) -> Reply:
        try:
            if self._is_private:
                check_sender(exchange.headers)
            return await self._route(exchange, route)
        except RequestError as error:
            return self._refusal(error)
        except ClientGoneError:
            raise
        except asyncio.CancelledError:  # the server has waited long enough
            return self._refusal(RequestError(503, "The server is shutting down."))
        except Exception as error:  # noqa: BLE001 -- the boundary
            return self._refusal(failure(error))

    async def _route(self, exchange: Exchange, route: str) -> Reply:
        method = exchange.scope["method"]
        if route == "other":
            raise RequestError(404, "There is nothing here: POST pictures to /invocations.")
        allowed = ("POST",) if route == "/invocations" else ("GET", "HEAD")
        if method not in allowed:
            reply = self._refusal(RequestError(405, f"{route} takes {' and '.join(allowed)} alone."))
            reply.headers.append((b"allow", ", ".join(allowed).encode()))
            return reply
        if route == "/invocations":
            return await self._invoke(exchange)
        return self._gets[route]()

    def _ping(self) -> Reply:
        if self._is_ending:
            raise RequestError(503, "The server is shutting down.")
        if not self._batcher.is_healthy:
            raise RequestError(503, "The model answers no more; the server's log says which error it was.")
        return Reply(200, b"{}")

    async def _invoke(self, exchange: Exchange) -> Reply:
        batcher = self._batcher
        accept = exchange.header(b"accept")
        choose_type(accept)  # before anything is computed
        if not batcher.has_room():
            raise RequestError(429, "The server is busy: try again later.")
        with self._bodies.held() as body:
            data = await body.read(exchange.receive, exchange.headers)
            exchange.has_unread_body, exchange.num_bytes = False, len(data)
            ticket = batcher.submit(data, exchange.header(b"content-type"), _options(exchange))
            del data
            try:
                outcomes = await self._wait(ticket, exchange)
            finally:
                batcher.drop(ticket)
        assert ticket.request is not None
        return Reply(200, *write_answers(outcomes, accept, ticket.request.is_single))

    async def _wait(self, ticket: Ticket, exchange: Exchange) -> Any:
        """Wait for the outcomes, as long as the client does."""
        gone = asyncio.ensure_future(exchange.receive())
        try:
            waited_for: list[asyncio.Future[Any]] = [ticket.future, gone]
            seconds = self._bounds.answer_timeout_s
            await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if ticket.future.done():
            return ticket.future.result()
        ticket.future.cancel()
        if gone.done():
            raise ClientGoneError
        raise RequestError(503, f"There was no answer within {seconds:g} seconds: try again later.")

    def _refusal(self, error: RequestError) -> Reply:
        reply = Reply(error.status, *write_error(error))
        if error.status in (429, 503):
            reply.headers.append((b"retry-after", str(self._batcher.retry_after_s()).encode()))
        if error.status == 429:
            self._monitor.rejected("busy")
        elif error.status in (408, 413):
            self._monitor.rejected("slow" if error.status == 408 else "large")
        return reply

    async def _send(self, exchange: Exchange, reply: Reply) -> None:
        headers = [*SECURITY_HEADERS, (b"content-type", reply.content_type.encode()), *reply.headers]
        headers.append((b"content-length", str(len(reply.body)).encode()))
        if not any(name == b"cache-control" for name, _ in reply.headers):
            headers.append((b"cache-control", b"no-store"))
        # Whoever asks before sending is told at once. A short body is read to its end, for the connection to go on.
        unread = exchange.has_unread_body and b"expect" not in exchange.headers
        if unread and reply.status not in (408, 413):
            unread = not await discard(exchange.receive, self._bounds.limits.max_body_bytes)
            exchange.has_unread_body = unread
        if exchange.has_unread_body or self._is_ending:
            headers.append((b"connection", b"close"))
        await self._write(exchange, {"type": "http.response.start", "status": reply.status, "headers": headers})
        if unread and reply.status == 413:
            await self._write(exchange, {"type": "http.response.body", "body": reply.body, "more_body": True})
            await discard(exchange.receive, self._bounds.limits.max_body_bytes)
            reply.body = b""
        await self._write(exchange, {"type": "http.response.body", "body": reply.body, "more_body": False})

    async def _write(self, exchange: Exchange, message: MutableMapping[str, Any]) -> None:
        try:
            await exchange.send(message)
        except Exception as error:  # whatever uvicorn says of a connection that has ended
            raise ClientGoneError from error


def _serve(file: File) -> Reply:
    return Reply(200, file.body, file.content_type, [(b"cache-control", b"no-cache")])


def _options(exchange: Exchange) -> dict[str, str]:
    """Read what a client wishes from SageMaker's header and from the query, which counts more."""
    options = read_custom_attributes(exchange.header(_ATTRIBUTES))
    query = exchange.scope["query_string"].decode("latin-1")
    try:
        return options | dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError as error:
        raise RequestError(400, f"The query has more than {_MAX_QUERY_FIELDS} fields.") from error
