"""One live line about the jobs of a sweep, on terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from tqdm import tqdm


class SweepProgress:
    """A bar of jobs that are over, with what the others do.

    Args:
        num_jobs: In all.
    """

    def __init__(self, num_jobs: int) -> None:
        self._num_jobs = num_jobs
        self._num_failed = 0
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        """Open the bar; there is none where nobody looks."""
        self._bar = tqdm(total=self._num_jobs, desc="sweep", unit="job", disable=None, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def count(self, *, has_failed: bool) -> None:
        """Count a job that is over."""
        self._num_failed += has_failed
        if self._bar is not None:
            self._bar.update()

    def show(self, running: Sequence[tuple[int, str, float]]) -> None:
        """Show jobs that run: number, what they do, since how many seconds."""
        if self._bar is not None:
            words = [f"#{number} {phase} {int(seconds) // 60}:{int(seconds) % 60:02}"
                     for number, phase, seconds in running]  # fmt: skip
            failed = [f"{self._num_failed} failed"] if self._num_failed else []
            self._bar.set_postfix_str(" · ".join([*failed, *words]))
