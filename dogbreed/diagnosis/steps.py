"""Losses and times of a run's steps: for the rules, and in ``steps.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from dogbreed.clock import PHASES, PhaseClock
from dogbreed.diagnosis.observations import Observation, StepLoss, StepTimes

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


class StepRecord:
    """What steps come to and take; losses stay on their device until they are asked for.

    Args:
        file: As `StepTable`.
    """

    def __init__(self, file: Path | None) -> None:
        self.num_steps = 0
        self._table = StepTable(file)
        self._clock: PhaseClock | None = None
        self._batch_losses: list[Tensor] = []
        self._losses: list[tuple[int, Tensor]] = []

    def __len__(self) -> int:
        """Count the steps that were not taken yet."""
        return len(self._losses)

    def begin(self, trainer: L.Trainer, device: torch.device) -> None:
        """Listen to what the trainer does."""
        self._clock = PhaseClock.of(trainer, device)

    def restart(self) -> None:
        """Leave the time since the last step out of the next one."""
        if self._clock:
            self._clock.restart()

    def end(self) -> None:
        """Listen no more."""
        if self._clock:
            self._clock.leave()

    def see_batch(self, loss: Any, step: int) -> bool:
        """Take in a batch.

        Args:
            loss: A tensor; anything else is no loss.
            step: Optimiser steps done by now; as many as before while gradients are accumulated.

        Returns:
            Whether it has ended a step, whose loss is the mean over its batches.
        """
        if isinstance(loss, Tensor):
            self._batch_losses.append(loss.detach().float())
        if step == self.num_steps:
            return False
        if self._batch_losses and self._clock:
            self._losses.append((step, torch.stack(self._batch_losses).mean()))
            self._clock.end_step()
        self.num_steps, self._batch_losses = step, []
        return True

    def take(self) -> list[Observation]:
        """Return what rules should see of the steps since the last call, and write their rows; waits for a GPU."""
        losses, self._losses = self._losses, []
        if not losses or not self._clock:
            return []
        steps = [step for step, _ in losses]
        values = torch.stack([loss for _, loss in losses]).tolist()
        times = self._clock.take()
        phases = [[time.phases[phase] for phase in PHASES] for time in times]
        seconds = [time.seconds for time in times]
        self._table.add([(*row[:3], *row[3]) for row in zip(steps, values, seconds, phases, strict=True)])
        wait_s = [time.phases["wait"] for time in times]
        total = StepTimes(steps[-1], np.array(seconds, dtype=np.float32), np.array(wait_s, dtype=np.float32))
        return [*(StepLoss(step, value) for step, value in zip(steps, values, strict=True)), total]

    def state(self) -> dict[str, Any]:
        """Return all steps so far."""
        return {"step": self.num_steps, "rows": self._table.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.num_steps = state["step"]
        self._table.load_state(state["rows"])
