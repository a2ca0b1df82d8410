"""Several runs on one page: their curves over each other, their results side by side, what was different."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from dogbreed.errors import UserError
from dogbreed.files import write_text
from dogbreed.reporting import drawing
from dogbreed.reporting.differences import MISSING, differing_keys
from dogbreed.reporting.page import Entry, render
from dogbreed.reporting.run import Run, load_run
from dogbreed.reporting.search import holds_sweep, mode_of, trial_folders
from dogbreed.reporting.verdict import Headline, headline
from dogbreed.reporting.words import duration, number, percent, setting
from dogbreed.run_files import COMPARISON_HTML, REPORT_HTML

# Metrics in the order of their columns, with how they are written.
_COLUMNS = (
    ("test/acc_top1", "test top-1", percent),
    ("test/f1_macro", "test F1", percent),
    ("val/acc_top1", "val top-1", percent),
    ("val/f1_macro", "val F1", percent),
    ("val/loss", "val loss", number),
    ("val/ece", "val ECE", percent),
    ("seconds", "time", duration),
    ("images_per_second", "images/s", number),
)
NUM_COLORS = 8
MAX_RUNS_AS_COLUMNS = 6
CONTENTS = (Entry("results", "Results"), Entry("curves", "Validation curves"), Entry("differences", "Differences"))


@dataclass(frozen=True)
class Contestant:
    """A run among others.

    Args:
        run: Its folder's content.
        name: What tells it from the others.
        color: CSS variable of its colour; ``muted`` for those beyond the eight best.
        headline: What it has come to.
        values: Its metrics.
    """

    run: Run
    name: str
    color: str
    headline: Headline
    values: Mapping[str, float]

    @property
    def num_issues(self) -> int:
        """How many rules have found something."""
        return sum(rule.is_issue for rule in self.run.rules)


@dataclass(frozen=True)
class Cell:
    """A cell of a table, and whether its value is the best of its column."""

    text: str
    is_best: bool = False


def write_comparison(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page that compares runs, whole or not at all.

    Args:
        folders: Run folders, or sweep folders, which stand for the runs in them.
        out: The page; by default ``comparison.html`` here.

    Returns:
        Where it was written.

    Raises:
        UserError: one of the folders holds no run, or none of the runs can be read.
        OSError: the page cannot be written.
    """
    target = out or Path(COMPARISON_HTML)
    runs, problems = _load(folders)
    objective, mode = _objective(runs)
    write_text(target, render_comparison(_contestants(runs, objective, mode), objective, problems, target))
    return target


def render_comparison(contestants: Sequence[Contestant], objective: str, problems: Sequence[str], target: Path) -> str:
    """Return the page.

    Args:
        contestants: The runs.
        objective: Metric that decides which is best.
        problems: Sentences about runs that cannot be read.
        target: Where the page will lie: links to the runs' own reports are relative to it.
    """
    columns, rows = result_table(contestants)
    best = max(contestants, key=lambda one: -_rank_key(one.values.get(objective), mode_of(objective)))
    return render(
        "comparison.html",
        title=f"{len(contestants)} runs compared",
        contents=CONTENTS,
        contestants=contestants,
        objective=objective,
        best=best if objective in best.values else None,
        best_value=_write(objective, best.values[objective]) if objective in best.values else "",
        problems=problems,
        columns=columns,
        rows=rows,
        figures=_figures(contestants),
        differences=_differences(contestants),
        links=[_link(contestant.run.folder / REPORT_HTML, target) for contestant in contestants],
    )


def result_table(contestants: Sequence[Contestant]) -> tuple[list[str], list[list[Cell]]]:
    """Return the headings and, for each run, the cells of the table of results; the best of a column is marked.

    Where all are the same, or there is but one, nothing is the best.
    """
    shown = [column for column in _COLUMNS if any(column[0] in one.values for one in contestants)]
    rows: list[list[Cell]] = [[] for _ in contestants]
    for key, _, _ in shown:
        values = [one.values.get(key, math.nan) for one in contestants]
        there = [value for value in values if math.isfinite(value)]
        is_race = len(set(there)) > 1
        best = (min if mode_of(key) == "min" else max)(there) if there else math.nan
        for row, value in zip(rows, values, strict=True):
            row.append(Cell(_write(key, value), is_race and value == best))
    return [name for _, name, _ in shown], rows


def _load(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    runs, problems = [], []
    for folder in folders:
        trials = trial_folders(folder) if holds_sweep(folder) else [folder]
        if not trials:
            msg = f"{folder} is a sweep without a run that has begun."
            raise UserError(msg)
        for trial in trials:
            try:
                runs.append(load_run(trial))
            except UserError as error:
                if len(trials) == 1:
                    raise
                problems.append(str(error))
    if not runs:
        msg = f"None of the runs can be read: {problems[0]}"
        raise UserError(msg)
    return runs, [*problems, *(f"{run.name}: {problem}" for run in runs for problem in run.problems)]


def _objective(runs: Sequence[Run]) -> tuple[str, str]:
    """Return the metric that the runs go by, and whether it is to be ``max`` or ``min``."""
    named, mode = runs[0].setting("objective"), runs[0].setting("objective_mode")
    first = named[0] if isinstance(named, list) and named else named
    objective = first if isinstance(first, str) else "val/acc_top1"
    return objective, mode if mode in ("max", "min") else mode_of(objective)


def _rank_key(value: float | None, mode: str) -> float:
    if value is None or not math.isfinite(value):
        return math.inf
    return -value if mode == "max" else value


def _contestants(runs: Sequence[Run], objective: str, mode: str) -> list[Contestant]:
    """Give the best runs colours of their own."""
    values = [_values(run) for run in runs]
    order = sorted(range(len(runs)), key=lambda place: _rank_key(values[place].get(objective), mode))
    colors = {place: f"series-{rank}" for rank, place in enumerate(order[:NUM_COLORS], start=1)}
    names = _names(runs)
    return [
        Contestant(runs[place], names[place], colors.get(place, "muted"), headline(runs[place]), values[place])
        for place in range(len(runs))
    ]


def _values(run: Run) -> dict[str, float]:
    """Return final metrics; of a run without, those of its best epoch so far by validation accuracy."""
    if run.metrics or not run.epochs or not len(run.epochs):
        return dict(run.metrics)
    accuracy = run.epochs.numbers("val/acc_top1")
    place = int(np.nanargmax(accuracy)) if np.isfinite(accuracy).any() else -1
    found = {name: float(run.epochs.numbers(name)[place]) for name in run.epochs.columns if "/" in name}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _names(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [f"{run.folder.absolute().parent.name}/{run.name}" for run in runs]


def _figures(contestants: Sequence[Contestant]) -> list[drawing.Figure]:
    figures = []
    for metric, title, is_share in (
        ("acc_top1", "Validation accuracy (top-1)", True),
        ("loss", "Validation loss", False),
    ):
        curves = [
            (one.name, one.color, one.run.epochs.numbers("epoch"), one.run.epochs.numbers(f"val/{metric}"))
            for one in reversed(contestants)  # the first are on top
            if one.run.epochs
        ]
        figures.append(drawing.draw_compared(title, curves, is_share=is_share))
    return [figure for figure in figures if figure]


def _differences(contestants: Sequence[Contestant]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return headings and rows: a row a key, or a row a run where there are many runs."""
    found = differing_keys([one.run.config for one in contestants])
    names = [one.name for one in contestants]
    written = {key: ["–" if value is MISSING else setting(value) for value in values] for key, values in found.items()}
    if len(contestants) <= MAX_RUNS_AS_COLUMNS or not written:
        return names, list(written.items())
    return list(written), list(zip(names, map(list, zip(*written.values(), strict=True)), strict=True))


def _write(key: str, value: float) -> str:
    return next((write for name, _, write in _COLUMNS if name == key), number)(value)


def _link(report: Path, target: Path) -> str:
    """Return the relative address of a run's own report; nothing where it has none."""
    if not report.is_file():
        return ""
    return quote(os.fsencode(os.path.relpath(report.absolute(), target.absolute().parent)))
