"""Questions that cost something: asked at a terminal, answered with no anywhere else."""

from __future__ import annotations

import sys


def is_at_terminal() -> bool:
    """Say whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agrees(question: str) -> bool:
    """Ask; anything but yes, the end of the input and Ctrl-C among it, is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False
