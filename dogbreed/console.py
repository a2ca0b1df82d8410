"""Lines on a terminal that also shows a progress bar."""

from __future__ import annotations

import logging
import sys


class LinesAboveBars(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes whole lines above tqdm's bars, which would otherwise stand at their beginning.

    tqdm is asked only where something has loaded it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; bars are cleared before and drawn anew after it."""
        tqdm = sys.modules.get("tqdm")
        if tqdm is None:
            super().emit(record)
            return
        with tqdm.tqdm.external_write_mode():
            super().emit(record)
