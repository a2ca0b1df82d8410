"""Ctrl-C and SIGTERM: finish the step, save, then stop; a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# What comes again so soon is the same wish: ``timeout`` signals a process and then its group.
ECHO_S = 0.5


class StopSignals:
    """While it is entered, SIGINT and SIGTERM interrupt as Ctrl-C does, in training after the step.

    Signals reach only the main thread; in another one nothing is changed. A signal
    that is ignored (``nohup``) stays ignored.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._is_deferred = False
        self._requested_s = 0.0
        self._pid = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """From now on a first signal is only noted; who trains looks at ``is_requested`` between steps."""
        self._install()  # Lightning has put its own before ours, and stops without a checkpoint
        self._is_deferred = True

    def interrupt(self) -> None:
        """From now on signals interrupt at once.

        Raises:
            KeyboardInterrupt: one has come already.
        """
        self._is_deferred = False
        if self.is_requested:
            raise KeyboardInterrupt

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._before.setdefault(number, before)
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A loader process. Ctrl-C in a terminal reaches it, too, but its parent still needs it.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
        elif self._is_deferred and not self.is_requested:
            self.is_requested = True
            self._requested_s = time.monotonic()
            # Not print: a handler may come in the middle of another one.
            os.write(2, b"\nstopping as soon as the step is saved; once more stops at once\n")
        elif not self._is_deferred or time.monotonic() - self._requested_s > ECHO_S:
            raise KeyboardInterrupt
