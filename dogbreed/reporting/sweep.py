"""The page of a sweep: what was tried, what it came to, and what mattered."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from urllib.parse import quote

from dogbreed.errors import count
from dogbreed.files import write_text
from dogbreed.reporting import search_charts as charts
from dogbreed.reporting.canvas import WIDTH
from dogbreed.reporting.drawing import Figure
from dogbreed.reporting.marks import NUM_SHADES, Palette, written
from dogbreed.reporting.page import Entry, render
from dogbreed.reporting.parallel import draw_parallel
from dogbreed.reporting.scales import write_value
from dogbreed.reporting.search import Search, Trial, load_search
from dogbreed.reporting.words import duration
from dogbreed.run_files import REPORT_HTML, SWEEP_HTML

# A page that lights up more trials than this grows large and slow.
MAX_LIT = 600
# Metrics beside the objectives.
_MORE = (("val/acc_top1", "val top-1"), ("val/f1_macro", "val F1"), ("val/loss", "val loss"))
_TONES = {"completed": "good", "pruned": "quiet", "failed": "bad", "died": "bad"}


def write_sweep_page(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a sweep, whole or not at all; of one that goes on a page that loads itself anew.

    Args:
        folder: The sweep's folder, at whatever moment of the sweep's life.
        out: The page; ``sweep.html`` in the folder by default.

    Returns:
        Where it was written.

    Raises:
        UserError: there is no sweep in the folder, or nothing of it can be read.
        OSError: the page cannot be written.
    """
    target = out or folder / SWEEP_HTML
    write_text(target, render_sweep(load_search(folder), target))
    return target


def render_sweep(search: Search, target: Path) -> str:
    """Return the page.

    Args:
        search: What the folder says.
        target: Where the page will lie: links to the runs' own pages are relative to it.
    """
    palette = Palette(search)
    parts = {
        "overview": _overview(search, palette),
        "parallel": [figure for figure in [draw_parallel(search, palette)] if figure],
        "slices": charts.draw_slices(search, palette),
        "curves": charts.draw_curves(search, palette),
    }
    entries = [Entry("overview", "Overview"), Entry("parallel", "Parallel coordinates"),
               Entry("slices", "Each parameter"), Entry("curves", "Learning curves")]  # fmt: skip
    contents = [entry for entry in entries if parts[entry.anchor]]
    lit = [trial.number for trial in search.trials] if len(search.trials) <= MAX_LIT else []
    return render(
        "sweep.html",
        title=f"Sweep {search.folder.absolute().name}",
        contents=[*contents, Entry("trials", "Trials"), Entry("space", "Search space")],
        search=search,
        figures=parts,
        headline=_headline(search),
        best=search.best,
        best_params=[(key, written(value)) for key, value in _params(search, search.best)],
        command=f"python -m dogbreed.train from_sweep={shlex.quote(str(search.folder))}",
        tiles=_tiles(search),
        columns=[*search.objectives, *search.keys, *(name for _, name in _more(search))],
        rows=[_row(search, trial, palette, target) for trial in search.ranked],
        space=[(key, search.texts.get(key, "–")) for key in dict.fromkeys([*search.texts, *search.keys])],
        fixed=[text for text in search.typed if text.partition("=")[0].lstrip("+") not in search.texts],
        shades=range(NUM_SHADES),
        ends=_ends(search),
        lit=lit,
    )


def _overview(search: Search, palette: Palette) -> list[Figure]:
    """Return the first charts; the history is as wide as two where one would stand alone."""
    drawn = [charts.draw_pareto(search), charts.draw_importance(search), charts.draw_pair(search, palette)]
    others = [figure for figure in drawn if figure]
    history = charts.draw_history(search, palette, WIDTH if len(others) % 2 else charts.WIDE)
    return [history, *others] if history else others


def _headline(search: Search) -> str:
    """Say in a sentence what the sweep has found."""
    best = search.best
    if best is None:
        return f"None of its trials has come to a value of {search.objectives[0]} yet."
    words = f"Trial {best.number} is best: {search.objectives[0]} {write_value(search.objectives[0], best.value)}"
    for name, value in list(zip(search.objectives, best.values, strict=False))[1:]:
        words += f", {name} {write_value(name, value)}"
    return f"{words}."


def _tiles(search: Search) -> list[tuple[str, str, str]]:
    """Return names, values and remarks of the most important numbers."""
    states = [trial.state for trial in search.trials]
    finished = [trial for trial in search.ranked if trial.is_finished]
    others = [count(states.count(state), state).removesuffix("s") for state in ("pruned", "failed", "running", "died")
              if states.count(state)]  # fmt: skip
    tiles = [("trials", str(len(states)), ", ".join(others) or "all finished")]
    name = search.objectives[0]
    if finished:
        middle = finished[len(finished) // 2].value
        tiles.insert(0, (f"best {name}", write_value(name, finished[0].value), f"trial {finished[0].number}"))
        tiles.append(("median trial", write_value(name, middle), f"of {count(len(finished), 'finished trial')}"))
    seconds = [trial.seconds for trial in search.trials if trial.seconds is not None]
    if seconds:
        tiles.append(("time in trials", duration(sum(seconds)), f"{duration(sorted(seconds)[len(seconds) // 2])} each"))
    if search.front:
        tiles.append(("Pareto front", str(len(search.front)), "trials that no other one beats"))
    if search.importance:
        key, share = next(iter(search.importance.items()))
        tiles.append(("matters most", key.rpartition(".")[2], f"{key}, {100 * share:.0f} %"))
    return tiles


def _row(search: Search, trial: Trial, palette: Palette, target: Path) -> dict[str, object]:
    """Return what the table shows of a trial."""
    best = {index: _best_value(search, index) for index in range(len(search.objectives))}
    values = [
        (write_value(name, value), trial.is_finished and value == best[index])
        for index, (name, value) in enumerate(zip(search.objectives, trial.values, strict=False))
    ]
    params = [(written(trial.params[key]), _is_numeric(trial.params[key])) if key in trial.params else ("–", False)
              for key in search.keys]  # fmt: skip
    return {
        "number": trial.number,
        "color": palette.color(trial),
        "is_front": trial.number in search.front,
        "state": trial.state,
        "tone": _TONES.get(trial.state, "busy"),
        "values": values,
        "params": params,
        "more": [write_value(key, trial.metrics.get(key)) for key, _ in _more(search)],
        "time": duration(trial.seconds),
        "note": "; ".join(filter(None, [trial.reason, _issues(trial)])),
        "link": _link(trial, target),
    }


def _best_value(search: Search, index: int) -> float:
    values = [trial.values[index] for trial in search.trials
              if trial.is_finished and math.isfinite(trial.values[index])]  # fmt: skip
    if len(set(values)) < 2:
        return math.nan
    return max(values) if search.modes[index] == "max" else min(values)


def _more(search: Search) -> list[tuple[str, str]]:
    """Return the metrics beside the objectives that any trial has, with their headings."""
    return [(key, name) for key, name in _MORE
            if key not in search.objectives and any(key in trial.metrics for trial in search.trials)]  # fmt: skip


def _issues(trial: Trial) -> str:
    return f"rules: {', '.join(trial.issues)}" if trial.issues else ""


def _params(search: Search, trial: Trial | None) -> list[tuple[str, object]]:
    return [(key, trial.params[key]) for key in search.keys if key in trial.params] if trial else []


def _is_numeric(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ends(search: Search) -> tuple[str, str, str]:
    """Return the worst, the middle and the best value of finished trials, for the legend of the colours."""
    finished = [trial.value for trial in search.ranked if trial.is_finished]
    if not finished:
        return "", "", ""
    name = search.objectives[0]
    return (write_value(name, finished[-1]), write_value(name, finished[len(finished) // 2]),
            write_value(name, finished[0]))  # fmt: skip


def _link(trial: Trial, target: Path) -> str:
    """Return the relative address of a trial's own page, or of its folder; nothing where neither is here."""
    if trial.folder is None:
        return ""
    report = trial.folder / REPORT_HTML
    found = report if report.is_file() else trial.folder
    address = quote(os.fsencode(os.path.relpath(found.absolute(), target.absolute().parent)))
    return address if found is report else f"{address}/"
