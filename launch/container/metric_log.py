"""One line an epoch on standard output, in the form that a job's metric definitions read.

It listens to the log, on which the end of an epoch is told, and reads the epoch's row from ``metrics.csv``. A callback
or a logger of Lightning's would be part of the configuration, and so of what the run is.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dogbreed.files import read_csv

# Who tells that an epoch is over, after its row has been written.
TELLER = "dogbreed.fit.record"
_SPLITS = ("train/", "val/", "test/")
_MORE = ("seconds", "images_per_second", "data_wait_share")


class MetricLog(logging.Handler):
    """Print ``[metrics] epoch=3 val/acc_top1=0.9131 …`` after each epoch.

    Args:
        file: ``metrics.csv`` of the run.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(logging.INFO)
        self._file = file
        self._epoch = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Look whether there is a new row; a run that goes on has its earlier ones there already."""
        try:
            rows = read_csv(self._file)
            if rows and rows[-1]["epoch"] != self._epoch:
                self._epoch = rows[-1]["epoch"]
                write_line("metrics", {"epoch": self._epoch, **_told(rows[-1])})
        except Exception:  # noqa: BLE001 -- a line of a log must not end a run
            self.handleError(record)


def write_line(kind: str, values: Mapping[str, Any]) -> None:
    """Print ``[kind] name=value …`` in one piece; what is not there is left out."""
    words = " ".join(f"{name}={_word(value)}" for name, value in values.items() if value not in (None, ""))
    sys.stdout.write(f"[{kind}] {words}\n")
    sys.stdout.flush()


def result_line(metrics: Mapping[str, float]) -> dict[str, float]:
    """Choose what the last line of a job says of its result."""
    return _told(metrics)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.startswith(_SPLITS) or name in _MORE}


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return str(value)
