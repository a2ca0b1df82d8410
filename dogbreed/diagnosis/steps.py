"""``steps.csv``: a row a step, added to while a run goes on."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from dogbreed.files import read_csv, write_csv

COLUMNS = ("step", "loss", "seconds", "wait_s")


class StepTable:
    """Adds rows to the file, which is made with the first ones; a run of a million steps is not written over and over.

    Args:
        file: ``steps.csv``.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, rows: Iterable[tuple[int, float, float, float]]) -> None:
        """Add rows: step, loss, seconds of the step with waiting, and of waiting."""
        is_new = not self._file.exists()
        with self._file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerows((step, *(f"{value:.6g}" for value in values)) for step, *values in rows)

    def cut(self, last_step: int) -> None:
        """Take away the rows after a step, from which the run goes on, and a last one that is half written."""
        kept = [row for row in read_csv(self._file) if _is_whole(row) and int(row["step"]) <= last_step]
        if kept:
            write_csv(self._file, kept)
        else:
            self._file.unlink(missing_ok=True)


def _is_whole(row: dict[str, str | None]) -> bool:
    return all(row.get(name) for name in COLUMNS) and None not in row and str(row["step"]).isdigit()
