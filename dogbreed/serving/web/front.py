"""What answers from the first moment on: that the model is being loaded, and from then on the endpoint itself.

Imports no torch, which takes longer than all else.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from dogbreed.serving.web.guards import SECURITY_HEADERS

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Answers(Protocol):
    """An endpoint: `dogbreed.serving.web.app.Endpoint`."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Answer a request."""

    def end(self) -> None:
        """Finish what has begun."""


class Front:
    """The ASGI application that uvicorn calls."""

    def __init__(self) -> None:
        self.endpoint: Answers | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Answer a request."""
        if self.endpoint is not None:
            await self.endpoint(scope, receive, send)
            return
        body = json.dumps({"error": "The model is being loaded: try again in a few seconds."}).encode()
        headers = [*SECURITY_HEADERS, (b"content-type", b"application/json"), (b"retry-after", b"2")]
        headers += [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        headers += [(b"connection", b"close")]  # its body is not read
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def end(self) -> None:
        """Finish what has begun."""
        if self.endpoint is not None:
            self.endpoint.end()
