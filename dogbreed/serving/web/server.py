"""uvicorn, started and stopped as this server needs it: the socket listens at once, the model comes after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from dogbreed.serving.web.connections import MAX_HEAD_BYTES, Doorman, GuardedProtocol
from dogbreed.serving.web.listening import BACKLOG
from dogbreed.serving.web.settings import Bounds


class Server(uvicorn.Server):
    """Serves until SIGTERM or Ctrl-C, then finishes what it has begun; a second signal ends it at once.

    Args:
        app: ASGI application.
        bounds: What connections may take.
        on_end: Is called when it begins to end.
    """

    def __init__(self, app: Any, bounds: Bounds, on_end: Callable[[], None]) -> None:
        # What uvicorn logs, it logs of clients' nonsense, or with tracebacks.
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())
        logging.getLogger("uvicorn").propagate = False
        super().__init__(
            uvicorn.Config(
                app,
                http=self._build_protocol,  # type: ignore[arg-type]
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                workers=1,
                backlog=BACKLOG,
                timeout_keep_alive=int(bounds.idle_timeout_s),
                timeout_graceful_shutdown=int(bounds.grace_s),
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self.doorman = Doorman(bounds, self.server_state)
        self._on_end = on_end
        self._wake = asyncio.Event()

    def _build_protocol(self, **options: Any) -> GuardedProtocol:
        return GuardedProtocol(self.doorman, **options)

    def stop(self) -> None:
        """End as by a signal; on the event loop."""
        self.should_exit = True
        self._wake.set()

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        while not await self.on_tick(0):  # keeps the date, too
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what has begun."""
        self._on_end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, without raising it again afterwards as uvicorn does."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        watch = loop.create_task(self.doorman.watch())
        is_main = threading.current_thread() is threading.main_thread()
        for number in numbers if is_main else ():
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            watch.cancel()
            for number in numbers if is_main else ():
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if self.should_exit:
            os._exit(128 + number)
        self.stop()
