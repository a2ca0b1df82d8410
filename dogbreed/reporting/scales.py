"""Axes of charts drawn by hand: where values lie, and what is written beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dogbreed.reporting.words import number, percent, setting

MAX_CATEGORIES = 12
# Numbers that lie further apart, and are positive, get a logarithmic axis even where no search space says so.
LOG_RANGE = 50.0
# The share of trials that may lie beyond the end of an axis, so that the others can be told apart.
MAX_BEYOND = 0.2
# So many times the distance between the quartiles beyond the quartile; of fewer values none is an outlier.
FENCE = 3.0
MIN_FENCED = 10
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(Protocol):
    """Where values lie on an axis."""

    def place(self, value: Any) -> float:
        """Return where a value lies, 0..1, at the nearer end if beyond; NaN if it has no place."""

    def ticks(self, limit: int) -> list[tuple[float, str]]:
        """Return at most so many places, 0..1, with what is written there."""


@dataclass(frozen=True)
class Continuous:
    """An axis of numbers.

    Args:
        low: At 0.
        high: At 1, above ``low``.
        is_log: Evenly in the logarithm; ``low`` is positive then.
        is_whole: Only whole numbers are written.
        write: Writes the numbers of ticks; by default as `number` does.
    """

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False
    write: Callable[[float], str] = number

    def place(self, value: Any) -> float:
        """As `Scale.place`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return math.nan
        inside = min(max(float(value), self.low), self.high)
        if self.is_log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)

    def ticks(self, limit: int) -> list[tuple[float, str]]:
        """As `Scale.ticks`, at round numbers."""
        values = self._log_ticks(limit) if self.is_log else self._linear_ticks(limit)
        return [(self.place(value), self.write(value)) for value in values]

    def _linear_ticks(self, limit: int) -> list[float]:
        rough = (self.high - self.low) / max(limit, 1)
        rough = max(rough, 1.0) if self.is_whole else rough
        power = 10.0 ** math.floor(math.log10(rough))
        steps = [power * factor for factor in (*_NICE, 20.0) if not self.is_whole or (power * factor).is_integer()]
        step = next(step for step in steps if step >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [float(f"{index * step:.10g}") for index in range(first, last + 1)]

    def _log_ticks(self, limit: int) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [float(f"{factor}e{power}") for power in powers for factor in factors]
            found = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
            if len(found) <= limit:
                break
        if len(found) < 2:
            return self._linear_ticks(limit)
        return found[:: math.ceil(len(found) / limit)]


@dataclass(frozen=True)
class Categories:
    """An axis of a few values, each with a band of its own.

    Args:
        values: In their order.
    """

    values: tuple[Any, ...]
    _places: dict[str, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        places = {setting(value): (rank + 0.5) / len(self.values) for rank, value in enumerate(self.values)}
        object.__setattr__(self, "_places", places)

    @property
    def band(self) -> float:
        """The share of the axis that is each one's."""
        return 1 / len(self.values)

    def place(self, value: Any) -> float:
        """As `Scale.place`."""
        return self._places.get(setting(value), math.nan)

    def ticks(self, limit: int) -> list[tuple[float, str]]:
        """As `Scale.ticks`."""
        return [(place, text) for text, place in self._places.items()][:: math.ceil(len(self.values) / max(limit, 1))]


def parameter_scale(values: Sequence[Any], text: str = "") -> Scale:
    """Choose the axis for a parameter.

    Args:
        values: Those of the trials, at least one.
        text: The parameter's range in the search space, if it is known: a list of values gets bands, and its order.
    """
    different = list({setting(value): value for value in values}.values())
    is_numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in different)
    is_interval = "interval(" in text
    if not is_interval and (len(different) <= MAX_CATEGORIES or not is_numeric):
        return Categories(tuple(sorted(different, key=lambda value: _order(value, text, is_numeric=is_numeric))))
    if not is_numeric or len(different) < 2:
        return Categories(tuple(different))
    low, high = float(min(different)), float(max(different))
    is_wide = low > 0 and high / low > LOG_RANGE
    is_log = low > 0 and (re.match(r"\s*tag\(\s*log", text) is not None or (not text and is_wide))
    return Continuous(low, high, is_log, is_whole=all(isinstance(value, int) for value in different))


def objective_scale(values: Sequence[float], name: str, mode: str) -> tuple[Continuous, int]:
    """Choose the axis for the values of an objective: far outliers on its bad side are left beyond its end.

    Args:
        values: Finite numbers, at least one.
        name: The metric's: shares are written in percent.
        mode: ``max`` or ``min``.

    Returns:
        The axis, and how many values lie beyond it.
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    first, third = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    reach = FENCE * (third - first)
    inside = [value for value in ordered if (value >= first - reach if mode == "max" else value <= third + reach)]
    is_enough = len(ordered) >= MIN_FENCED and len(inside) > 1 and inside[-1] > inside[0]
    if is_enough and len(ordered) - len(inside) <= MAX_BEYOND * len(ordered):
        low, high = inside[0], inside[-1]
    beyond = sum(not low <= value <= high for value in ordered)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    floor, ceiling = low - margin, high + margin
    if is_share(name):
        floor, ceiling = max(floor, -0.02), min(ceiling, 1.02)
    elif low >= 0:
        floor = max(floor, 0.0)
    write: Callable[[float], str] = number
    if is_share(name):
        write = _short_percent
    return Continuous(floor, ceiling, write=write), beyond


def is_share(name: str) -> bool:
    """Say whether a metric is a share, 0..1."""
    return name.rpartition("/")[2].startswith(("acc", "f1", "ece", "precision", "recall"))


def write_value(name: str, value: float | None) -> str:
    """Write a value of a metric: shares in percent."""
    return percent(value, 2 if value is not None and value > 0.9 else 1) if is_share(name) else number(value)


def _short_percent(share: float) -> str:
    return f"{number(float(f'{100 * share:.6g}'))} %"


def _order(value: Any, text: str, *, is_numeric: bool) -> tuple[float, str]:
    """Sort numbers by size, others as the search space lists them."""
    if is_numeric:
        return float(value), ""
    listed = [word.strip("'\" ") for word in re.split(r"[(),]", text)]
    written = setting(value)
    return (float(listed.index(written)), "") if written in listed else (math.inf, written)
