"""How a trial looks in the charts of a sweep's page: its colour, its dot, its words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dogbreed.reporting.scales import Continuous, objective_scale, write_value
from dogbreed.reporting.search import Search, Trial
from dogbreed.reporting.words import number, setting

NUM_SHADES = 8
DOT = "fill:{color};stroke:var(--surface);stroke-width:1"
HOLLOW = "fill:var(--surface);stroke:var(--muted);stroke-width:1.4"
BEST = "fill:var(--val);stroke:var(--surface);stroke-width:1.5"
NO_VALUE = "stroke:var(--bad);stroke-width:1.6"


class Palette:
    """Colours of a sweep's trials: the better the stronger, by rank, so that outliers do not take all of them.

    Args:
        search: The sweep.
    """

    def __init__(self, search: Search) -> None:
        finished = [trial.number for trial in search.ranked if trial.is_finished]
        last = max(len(finished) - 1, 1)
        self._shades = {
            number: min(NUM_SHADES - 1, round((NUM_SHADES - 1) * (1 - rank / last)))
            for rank, number in enumerate(finished)
        }
        self.best = search.best.number if search.best else None

    def color(self, trial: Trial) -> str:
        """Return a CSS colour."""
        if trial.number == self.best:
            return "var(--val)"
        shade = self._shades.get(trial.number)
        return "var(--muted)" if shade is None else f"var(--shade-{shade})"

    def dot(self, trial: Trial) -> str:
        """Return the CSS of a dot: hollow for a trial that did not finish."""
        if trial.number == self.best:
            return BEST
        return DOT.format(color=self.color(trial)) if trial.is_finished else HOLLOW


def with_values(search: Search) -> list[Trial]:
    """Return the trials that can be drawn, the best last, on top of the others."""
    return [trial for trial in reversed(search.ranked) if math.isfinite(trial.value)]


def value_scale(search: Search, trials: Sequence[Trial]) -> tuple[Continuous, int]:
    """Return the axis of the first objective, and how many values lie beyond it."""
    return objective_scale([trial.value for trial in trials], search.objectives[0], search.modes[0])


def describe(search: Search, trial: Trial, *more: str) -> str:
    """Say in a line which trial it is and what it has come to."""
    parts = [f"trial {trial.number}"]
    parts += [f"{name} {write_value(name, value)}" for name, value in zip(search.objectives, trial.values, strict=False)
              if math.isfinite(value)]  # fmt: skip
    parts += [trial.state] if trial.state != "completed" else []
    return ", ".join([*parts, *more])


def settings_words(trial: Trial, keys: Sequence[str]) -> list[str]:
    """Write some of a trial's parameters."""
    return [f"{key} {written(trial.params[key])}" for key in keys if key in trial.params]


def tag_of(trial: Trial) -> str:
    """Return the CSS classes of a trial's marks."""
    return f"t t{trial.number}"


def written(value: object) -> str:
    """Write a value of a parameter, a number with four digits."""
    return number(value) if isinstance(value, float) else setting(value)
