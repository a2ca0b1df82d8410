"""Which trials are best: by one value, or by several of which none may be worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

Trial = Mapping[str, Any]


def rank_trials(trials: Sequence[Trial], mode: str) -> list[Trial]:
    """Sort trials by their first value: finished ones, the best first, then pruned ones, then those without a value.

    What a pruned trial has reached is no result: it may have been sick.

    Args:
        trials: As `dogbreed.sweeps.record.collect_trials` returns them.
        mode: ``max`` or ``min``.
    """
    sign = -1.0 if mode == "max" else 1.0

    def key(trial: Trial) -> tuple[bool, bool, float, int]:
        value = first_value(trial)
        is_early = value is not None and trial["state"] != "completed"
        return value is None, is_early, sign * (value or 0.0), trial["number"]

    return sorted(trials, key=key)


def best_of(trials: Sequence[Trial], mode: str) -> Trial | None:
    """Return the finished trial with the best first value; None if there is none."""
    finished = [trial for trial in trials if trial["state"] == "completed" and first_value(trial) is not None]
    return rank_trials(finished, mode)[0] if finished else None


def pareto_front(trials: Sequence[Trial], modes: Sequence[str]) -> list[int]:
    """Return the numbers of the finished trials that no other one beats in every objective, best first value first.

    Of trials with the very same values the first one stands for all.

    Args:
        trials: As for `rank_trials`; those that miss a value are left out.
        modes: ``max`` or ``min`` for each value.
    """
    signs = [-1.0 if mode == "max" else 1.0 for mode in modes]
    points = {
        trial["number"]: tuple(sign * value for sign, value in zip(signs, trial["values"], strict=True))
        for trial in trials
        if trial["state"] == "completed" and all(is_number(value) for value in trial["values"])
    }
    front: dict[int, tuple[float, ...]] = {}
    for number, point in sorted(points.items(), key=lambda item: (item[1], item[0])):
        # In this order nothing that comes later can beat what is in the front.
        if not any(all(ours <= its for ours, its in zip(better, point, strict=True)) for better in front.values()):
            front[number] = point
    return list(front)


def first_value(trial: Trial) -> float | None:
    """Return a trial's first value; None if it has none."""
    value = trial["values"][0] if trial["values"] else None
    return float(value) if is_number(value) else None


def is_number(value: object) -> TypeGuard[float]:
    """Say whether something is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
