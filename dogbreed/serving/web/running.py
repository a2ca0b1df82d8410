"""A server's life: the socket listens, the model is loaded beside, requests are answered, a signal ends it.

Imports no torch: that happens in a thread, while others are told that the model is being loaded.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from dogbreed.imports import importing
from dogbreed.serving.web.files import page_files
from dogbreed.serving.web.front import Front
from dogbreed.serving.web.settings import Bounds, Wishes

if TYPE_CHECKING:
    from dogbreed.serving.web.connections import Doorman
    from dogbreed.serving.web.loading import Loaded

_Place = tuple[asyncio.AbstractEventLoop, "Doorman", Callable[[], None]]
_JOIN_S = 2.0


class Loader:
    """Loads a model in a thread.

    Args:
        wishes: Of the command line.
        bounds: What clients may take.
    """

    def __init__(self, wishes: Wishes, bounds: Bounds) -> None:
        self.loaded: Loaded | None = None
        self.error: BaseException | None = None
        self._wishes, self._bounds = wishes, bounds
        self._place: Future[_Place] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def place(self, loop: asyncio.AbstractEventLoop, doorman: Doorman, on_end: Callable[[], None]) -> None:
        """Say where the model is awaited, and what to call on that loop when it is there or cannot be loaded."""
        self._place.set_result((loop, doorman, on_end))

    def end(self) -> bool:
        """End the threads of the model; False if some would not."""
        self._thread.join(0 if self.loaded is None and self.error is None else _JOIN_S)
        return not self._thread.is_alive() and (self.loaded is None or self.loaded.batcher.close(_JOIN_S))

    def _run(self) -> None:
        try:
            with importing():  # torch is the longest part
                from dogbreed.serving.web.quick_start import without_compiler

                with without_compiler():
                    from dogbreed.serving.web import loading
        except BaseException as error:  # noqa: BLE001 -- raised again in the main thread
            self.error = error
        loop, doorman, on_end = self._place.result()
        if self.error is None:
            try:
                self.loaded = loading.load(self._wishes, self._bounds, doorman, loop)
            except BaseException as error:  # noqa: BLE001 -- raised again in the main thread
                self.error = error
        loop.call_soon_threadsafe(on_end)


def run_server(
    listener: socket.socket, wishes: Wishes, bounds: Bounds, say: Callable[[str], None], started: float
) -> bool:
    """Serve until a signal comes; what has begun then is finished.

    Args:
        listener: Of `dogbreed.serving.web.listening.listen`.
        wishes: Of the command line.
        bounds: What clients may take.
        say: Prints a line.
        started: When the command began, `time.perf_counter`.

    Returns:
        Whether all threads have ended.

    Raises:
        UserError: as `dogbreed.serving.web.loading.load`.
    """
    loader = Loader(wishes, bounds)
    has_ended = False
    try:
        asyncio.run(_serve(listener, loader, bounds, say, started))
    finally:
        has_ended = loader.end()
    if loader.error is not None:
        raise loader.error
    return has_ended


async def _serve(
    listener: socket.socket, loader: Loader, bounds: Bounds, say: Callable[[str], None], started: float
) -> None:
    from dogbreed.serving.web.server import Server  # while torch is on its way

    front = Front(page_files())
    server = Server(front, bounds, front.end)

    def go_on() -> None:
        if loader.loaded is None:
            server.stop()
            return
        front.endpoint = loader.loaded.endpoint
        say(f"Ready after {time.perf_counter() - started:.1f} s: {loader.loaded.summary}.")

    loader.place(asyncio.get_running_loop(), server.doorman, go_on)
    await server.serve(sockets=[listener])
