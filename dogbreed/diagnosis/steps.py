"""``steps.csv``: a row a step, added to while a run goes on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dogbreed.diagnosis.phases import PHASES

COLUMNS = ("step", "loss", "seconds", *(f"{phase}_s" for phase in PHASES))


class StepTable:
    """Adds rows to a file, so that those of a run of a million steps are not written over and over.

    Args:
        file: ``steps.csv``, made anew; None keeps the rows in memory only.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._rows: list[Sequence[float]] = []
        self._num_written = 0

    def add(self, rows: Sequence[Sequence[float]]) -> None:
        """Add rows: step, loss, seconds in all and of each phase."""
        self._rows += rows
        if self._file:
            with self._file.open("a" if self._num_written else "w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                if not self._num_written:
                    writer.writerow(COLUMNS)
                for step, *values in self._rows[self._num_written :]:
                    writer.writerow((int(step), *(f"{value:.6g}" for value in values)))
            self._num_written = len(self._rows)

    def state(self) -> Tensor:
        """Return all rows, float32 ``(N, 9)``: a checkpoint may outlive the run folder."""
        return torch.tensor(self._rows, dtype=torch.float32).view(-1, len(COLUMNS))

    def load_state(self, rows: Tensor) -> None:
        """Go on after these rows; what a run that was killed wrote after them is written anew."""
        self._rows, self._num_written = rows.tolist(), 0
        if self._rows:
            self.add([])
