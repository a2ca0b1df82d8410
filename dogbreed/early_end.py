"""That a run ends before its last epoch, and why: said by a callback, known where the run's end is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lightning as L

# What ``issue`` is where no rule was asked: the loss or the weights are no numbers any more.
LOST = "not_finite"


@dataclass(frozen=True)
class EarlyEnd:
    """Why a run has ended early; a trial of a sweep that does is *pruned*.

    Args:
        reason: A sentence.
        issue: The rule of diagnosis that found the run to be lost; None where its numbers were just not good enough.
    """

    reason: str
    issue: str | None = None


def early_end(trainer: L.Trainer) -> EarlyEnd | None:
    """Return what the first callback says that has ended training: its attribute ``early_end``, if it has one."""
    ends = (getattr(callback, "early_end", None) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return next((end for end in ends if isinstance(end, EarlyEnd)), None)
