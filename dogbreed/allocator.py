"""How this process's memory allocator treats what a training step frees."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's malloc.h. -1 means never trim; the others are its own defaults.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 * 1024 * 1024}
_DEFAULTS = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 128 * 1024, _TOP_PAD: 128 * 1024}

# M_MMAP_THRESHOLD, as large as glibc allows, and M_ARENA_MAX: heaps of other threads than the main one return what
# they are given above 32 MB in any case.
_SERVING = {-3: 32 * 1024 * 1024, _TRIM_THRESHOLD: 256 * 1024 * 1024, -8: 1}

_depth = 0


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep freed memory for the next allocation, and give it back at the end.

    By default, glibc asks the kernel for every large tensor and returns it at once, so that each step on a CPU pays
    for hundreds of thousands of page faults, up to a third of its time. Does nothing on other systems, and where
    the environment already says how memory is kept (``MALLOC_…``, ``LD_PRELOAD``, ``GLIBC_TUNABLES``).
    """
    global _depth  # noqa: PLW0603 -- the allocator is the process's, too
    libc = _glibc()
    if libc is None:
        yield
        return
    _set(libc, _KEEPING)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:  # features are computed while the fit that asks for them keeps, too
            _set(libc, _DEFAULTS)
            libc.malloc_trim(0)


def keep_some_freed_memory() -> None:
    """From now on keep what is freed for the next allocation, up to 256 MB; what is larger than 32 MB is returned.

    For a process that answers for years: a network's activations come without page faults, and a huge picture leaves
    nothing behind. Does nothing where `keeping_freed_memory` does nothing.
    """
    libc = _glibc()
    if libc is not None:
        _set(libc, _SERVING)


def _glibc() -> ctypes.CDLL | None:
    if any(name.startswith("MALLOC_") or name in ("LD_PRELOAD", "GLIBC_TUNABLES") for name in os.environ):
        return None
    try:
        libc = ctypes.CDLL(None)
        _ = libc.gnu_get_libc_version, libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return libc


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        libc.mallopt(option, value)
