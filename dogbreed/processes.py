"""Signals that come to a process, and processes of ours that do not outlive who has started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """See to it that this process gets a signal when its parent ends, even one that is killed.

    Args:
        parent: Process number of the parent, which must have started us in a thread that lives as long as it does.
        number: The signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


@contextmanager
def handling(handler: Callable[[int, Any], Any], *numbers: signal.Signals) -> Iterator[None]:
    """Have signals handled so, and afterwards as before; in another thread than the main one they reach nobody.

    Args:
        handler: Gets the number, and a frame.
        numbers: Of the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def python_path() -> str:
    """Return the ``PYTHONPATH`` with which another process finds the modules that this one finds."""
    return os.pathsep.join(str(Path(place).absolute()) for place in sys.path)


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), number)
