"""What answers from the first moment on: the page, that the model is being loaded, and then the endpoint itself.

Imports no torch, which takes longer than all else.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from dogbreed.serving.web.files import File
from dogbreed.serving.web.guards import SECURITY_HEADERS

_LOADING = json.dumps({"error": "The model is being loaded: try again in a few seconds."}).encode()
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Answers(Protocol):
    """An endpoint: `dogbreed.serving.web.app.Endpoint`."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Answer a request."""

    def end(self) -> None:
        """Finish what has begun."""


class Front:
    """The ASGI application that uvicorn calls.

    Args:
        files: By path; the page, which waits for the model itself.
    """

    def __init__(self, files: Mapping[str, File] | None = None) -> None:
        self.endpoint: Answers | None = None
        self._files = files or {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Answer a request."""
        if self.endpoint is not None:
            await self.endpoint(scope, receive, send)
            return
        file = self._files.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        status, content_type = (200, file.content_type) if file else (503, "application/json")
        body = file.body if file else _LOADING
        headers = [*SECURITY_HEADERS, (b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
        headers += [(b"content-length", str(len(body)).encode()), *([] if file else [(b"retry-after", b"2")])]
        headers += [(b"connection", b"close")]  # the request's body is not read
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def end(self) -> None:
        """Finish what has begun."""
        if self.endpoint is not None:
            self.endpoint.end()
