"""How large libraries are imported."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_has_imported = False


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and what comes with it in three quarters of the time, where a command does so for the first time.

    Imports make hundreds of thousands of objects that stay. Python's collector would look through all of them again
    and again, now and in training, each time for up to half a second; so it rests, and leaves them out from then on
    (`gc.freeze`). What is garbage among them stays, too: 12 MB.
    """
    global _has_imported  # noqa: PLW0603 -- the collector is the process's, too
    # Asked once: counting takes a twentieth of a second.
    if _has_imported or gc.get_freeze_count() or not gc.isenabled():
        _has_imported = True
        yield
        return
    _has_imported = True
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # at the end all is cleared away, or extensions complain of what was left
        gc.enable()
