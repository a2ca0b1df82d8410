"""Pages that are written beside something more important."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from dogbreed.errors import sentence_of

log = logging.getLogger(__name__)


def write_aside(write: Callable[[Path], Path], folder: Path) -> Path | None:
    """Write a page about a folder; where that fails, whatever the reason, it costs one warning and nothing else.

    Args:
        write: Gets the folder; returns where the page is.
        folder: A run's or a sweep's.

    Returns:
        Where the page is; None if it was not written.
    """
    try:
        return write(folder)
    except Exception as error:  # noqa: BLE001 -- the work is done, and what it has found is kept
        log.warning("report  the page of %s was not written (%s: %s); python -m dogbreed.report %s tries again.",
                    folder, type(error).__name__, sentence_of(error).rstrip("."), folder)  # fmt: skip
        return None
