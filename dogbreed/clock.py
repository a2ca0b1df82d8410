"""Time of training steps, told apart from waiting for their pictures."""

from __future__ import annotations

import time


class StepClock:
    """A stopwatch that is pressed where a step begins and where it ends."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()

    def restart(self) -> None:
        """Leave out what has passed since it was pressed last."""
        self._mark = time.perf_counter()

    def begin_step(self) -> float:
        """Return the seconds since the last step's end, or the last restart: what was waited for the batch."""
        return self._press()

    def end_step(self) -> float:
        """Return the seconds since the step's beginning, or the last restart."""
        return self._press()

    def _press(self) -> float:
        now = time.perf_counter()
        passed, self._mark = now - self._mark, now
        return passed
