"""The charts of a sweep's page. Every mark carries its trial's class, so that the page lights up a trial everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dogbreed.errors import count
from dogbreed.reporting.canvas import HEIGHT, WIDTH, Canvas, Point
from dogbreed.reporting.drawing import Figure
from dogbreed.reporting.marks import (
    BEST,
    DOT,
    HOLLOW,
    NO_VALUE,
    NUM_SHADES,
    Palette,
    describe,
    settings_words,
    tag_of,
    value_scale,
    with_values,
    written,
)
from dogbreed.reporting.scales import (
    Categories,
    Continuous,
    Scale,
    objective_scale,
    parameter_scale,
)
from dogbreed.reporting.search import Search, Trial
from dogbreed.reporting.words import number, percent, setting

MAX_SLICES = 16
MAX_EPOCH_POINTS = 60
WIDE = 920
SLICE_WIDTH, SLICE_HEIGHT = 310, 190


def draw_history(search: Search, palette: Palette, width: int = WIDTH) -> Figure | None:
    """Draw the values in the order of the trials, with the best so far; None where there are none."""
    trials = sorted(with_values(search), key=lambda trial: trial.number)
    if not trials:
        return None
    y, beyond = value_scale(search, trials)
    numbers = [trial.number for trial in search.trials]
    x = Continuous(min(numbers) - 0.5, max(*numbers, min(numbers) + 1) + 0.5, is_whole=True)
    canvas = Canvas(f"{search.objectives[0]} of the trials", x, y, "trial", width=width)
    better = max if search.modes[0] == "max" else min
    path: list[tuple[float, float]] = []
    for trial in trials:
        if trial.is_finished:
            best = better(path[-1][1], trial.value) if path else trial.value
            path += [(trial.number, path[-1][1])] if path else []
            path.append((trial.number, best))
    path += [(x.high, path[-1][1])] if path else []
    canvas.line([canvas.place(*place) for place in path], "stroke:var(--val);stroke-width:1.8")
    for trial in trials:
        radius = 5.5 if trial.number == palette.best else 3.6 if len(trials) > 80 else 4.2
        canvas.dot(canvas.place(trial.number, trial.value), palette.dot(trial), radius, describe(search, trial),
                   tag_of(trial))  # fmt: skip
    lost = [trial for trial in search.trials if not math.isfinite(trial.value) and trial.state != "running"]
    for trial in lost:
        place = (canvas.place(trial.number, y.low)[0], canvas.foot - 4)
        canvas.cross(place, NO_VALUE, describe(search, trial), tag_of(trial))
    legend = [("best so far", "val"), ("finished", f"shade-{NUM_SHADES - 2}")]
    legend += [("pruned", "muted")] if any(trial.state == "pruned" for trial in trials) else []
    legend += [("without a value", "bad")] if lost else []
    return Figure("History", canvas.svg(), tuple(legend), _beyond(beyond))


def draw_importance(search: Search) -> Figure | None:
    """Draw the share of each parameter as a bar; None where they are not known."""
    shares = dict(list(search.importance.items())[:MAX_SLICES])
    if not shares:
        return None
    x, y = (
        Continuous(0, max(shares.values()) * 1.16, write=lambda share: percent(share, 0)),
        Categories(tuple(reversed(shares))),
    )
    height = max(HEIGHT, 28 * len(shares) + 60)
    canvas = Canvas("How much each parameter matters", x, y, height=height, rows=len(shares))
    left = canvas.place(0, next(iter(shares)))[0]
    for key, share in shares.items():
        end, middle = canvas.place(share, key)
        canvas.path(f"M{left:.1f} {middle:.1f}H{end:.1f}", "stroke:var(--shade-5);stroke-width:14")
        canvas.text(end + 6, middle + 4, f"{100 * share:.0f} %")
    note = (
        "Share of each parameter in what tells the values of finished trials apart; with few trials a hint and no more."
    )
    return Figure("What mattered", canvas.svg(), (), note)


def draw_slices(search: Search, palette: Palette) -> list[Figure]:
    """Draw the values over each parameter, the one that matters most first."""
    trials = with_values(search)
    figures = []
    for key in search.keys[:MAX_SLICES] if trials else ():
        own = [trial for trial in trials if key in trial.params]
        if len({written(trial.params[key]) for trial in own}) < 2:
            continue
        x = parameter_scale([trial.params[key] for trial in own], search.texts.get(key, ""))
        y, _ = value_scale(search, trials)
        canvas = Canvas(f"{search.objectives[0]} over {key}", x, y, width=SLICE_WIDTH, height=SLICE_HEIGHT, rows=4)
        shift = _spread(own, x, key, canvas, 0.5)
        if isinstance(x, Categories):
            _draw_medians(canvas, x, own, key)
        for trial in own:
            at, up = canvas.place(trial.params[key], trial.value)
            title = describe(search, trial, *settings_words(trial, [key]))
            radius = 5.5 if trial.number == palette.best else 3.4 if len(own) > 80 else 4.2
            canvas.dot((at + shift(trial), up), palette.dot(trial), radius, title, tag_of(trial))
        share = search.importance.get(key)
        note = f"{100 * share:.0f} % of what mattered" if share is not None else ""
        figures.append(Figure(key, canvas.svg(), (), note))
    return figures


def draw_pair(search: Search, palette: Palette) -> Figure | None:
    """Draw where in the plane of the two parameters that matter most the good trials lie; None without two."""
    trials = [trial for trial in with_values(search) if trial.is_finished]
    keys = [key for key in search.keys if len({written(trial.params.get(key)) for trial in trials}) > 1][:2]
    if len(keys) < 2:
        return None
    trials = [trial for trial in trials if all(key in trial.params for key in keys)]
    x, y = (parameter_scale([trial.params[key] for trial in trials], search.texts.get(key, "")) for key in keys)
    canvas = Canvas(f"{keys[0]} and {keys[1]} of the trials", x, y, keys[0], keys[1], height=268)
    shift_x = _spread(trials, x, keys[0], canvas, 0.5)
    shift_y = _spread(trials, y, keys[1], canvas, 0.35, along_y=True)
    for trial in trials:
        across, up = canvas.place(*(trial.params[key] for key in keys))
        place = (across + shift_x(trial), up + shift_y(trial))
        title = describe(search, trial, *settings_words(trial, keys))
        canvas.dot(place, palette.dot(trial), 6.5 if trial.number == palette.best else 5, title, tag_of(trial))
    note = "Each dot is a finished trial: the stronger its colour, the better."
    return Figure("Where the good ones are", canvas.svg(), (("best", "val"),), note)


def draw_pareto(search: Search) -> Figure | None:
    """Draw the first objective against the second, with the line of those that no other trial beats."""
    if len(search.objectives) < 2:
        return None
    trials = [trial for trial in with_values(search) if trial.is_finished and math.isfinite(trial.values[1])]
    if not trials:
        return None
    first, second = search.objectives[:2]
    x, _ = objective_scale([trial.values[1] for trial in trials], second, search.modes[1])
    y, beyond = value_scale(search, trials)
    canvas = Canvas(f"{first} against {second}", x, y, second, first, height=268)
    front = [trial for trial in trials if trial.number in search.front]
    places = sorted(canvas.place(trial.values[1], trial.value) for trial in front)
    canvas.path(_stairs(places, search.modes[1]), "stroke:var(--val);stroke-width:1.8")
    for trial in trials:
        style = BEST if trial.number in search.front else DOT.format(color="var(--shade-3)")
        title = describe(search, trial, *settings_words(trial, search.keys[:3]))
        canvas.dot(canvas.place(trial.values[1], trial.value), style, 5 if trial in front else 4, title, tag_of(trial))
    legend = (("no other trial is better in both", "val"), ("the others", "shade-3"))
    return Figure(f"{first} against {second}", canvas.svg(), legend, _beyond(beyond))


def draw_curves(search: Search, palette: Palette) -> list[Figure]:
    """Draw the first objective, and the loss, of every trial over its epochs."""
    figures = []
    first = search.objectives[0]
    for name in dict.fromkeys([first if first.startswith("val/") else "val/acc_top1", "val/loss"]):
        curves = []
        for trial in reversed(search.ranked):
            if trial.epochs and len(trial.epochs) > 1:
                x, y = trial.epochs.numbers("epoch"), trial.epochs.numbers(name)
                is_there = np.isfinite(x) & np.isfinite(y) & (np.abs(y) < 1e30)
                if is_there.sum() > 1:
                    curves.append((trial, x[is_there], y[is_there]))
        if curves:
            figures.append(_curves(search, palette, name, curves))
    return figures


def _curves(
    search: Search, palette: Palette, name: str, curves: Sequence[tuple[Trial, np.ndarray, np.ndarray]]
) -> Figure:
    mode = search.modes[0] if name == search.objectives[0] else "min" if name.endswith("loss") else "max"
    ends = [float(value) for _, _, y in curves for value in y[len(y) // 4 :]]
    scale, _ = objective_scale(ends, name, mode)
    epochs = [float(x[-1]) for _, x, _ in curves]
    canvas = Canvas(
        f"{name} of the trials over the epochs", Continuous(1, max(*epochs, 2), is_whole=True), scale, "epoch"
    )
    weight = _weight(len(curves))
    for trial, x, y in curves:
        chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_EPOCH_POINTS)).astype(np.int64))
        places = [canvas.place(float(x[at]), float(y[at])) for at in chosen]
        is_best = trial.number == palette.best
        dashes = "" if trial.is_finished else ";stroke-dasharray:3 3"
        style = f"stroke:{palette.color(trial)};stroke-width:var(--wide,{2.6 if is_best else weight}){dashes}"
        title = describe(search, trial, *settings_words(trial, search.keys[:3]))
        canvas.line(places, style, title, tag_of(trial))
        if not trial.is_finished:
            canvas.dot(places[-1], HOLLOW, 3, "", tag_of(trial))
    is_cut = any(not trial.is_finished for trial, _, _ in curves)
    legend = [("best", "val")] + ([("ended early", "muted")] if is_cut else [])
    return Figure(name, canvas.svg(), tuple(legend))


def _draw_medians(canvas: Canvas, x: Categories, trials: Sequence[Trial], key: str) -> None:
    groups: dict[str, list[float]] = {}
    for trial in trials:
        if trial.is_finished:
            groups.setdefault(setting(trial.params[key]), []).append(trial.value)
    width = (canvas.place(x.values[-1], 0)[0] - canvas.place(x.values[0], 0)[0]) / max(len(x.values) - 1, 1) * 0.36
    for value in x.values:
        values = groups.get(setting(value))
        if values and len(values) > 1:
            middle = float(np.median(values))
            at, up = canvas.place(value, middle)
            style = "stroke:var(--ink);stroke-width:2;stroke-opacity:0.55"
            canvas.path(
                f"M{at - width:.1f} {up:.1f}h{2 * width:.1f}",
                style,
                f"median of {setting(value)}: {number(middle)}",
                "mark",
            )


def _spread(
    trials: Sequence[Trial], scale: Scale, key: str, canvas: Canvas, share: float, *, along_y: bool = False
) -> Callable[[Trial], float]:
    """Return by how much to move each trial within its value's band, so that dots do not lie on each other."""
    if not isinstance(scale, Categories):
        return lambda _: 0.0
    length = (canvas.span_y if along_y else canvas.span_x) * scale.band * share
    members: dict[str, list[int]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        members.setdefault(setting(trial.params[key]), []).append(trial.number)
    moved: dict[int, float] = {}
    for numbers in members.values():
        room = min(length, 9.0 * (len(numbers) - 1))
        for rank, own in enumerate(numbers):
            moved[own] = room * (rank / max(len(numbers) - 1, 1) - 0.5)
    return lambda trial: moved[trial.number]


def _stairs(places: Sequence[Point], mode: str) -> str:
    """Return the path along the corners of a front, around what its trials beat."""
    corner = "H{x:.1f}V{y:.1f}" if mode == "min" else "V{y:.1f}H{x:.1f}"
    path = "".join(corner.format(x=x, y=y) for x, y in places[1:])
    return f"M{places[0][0]:.1f} {places[0][1]:.1f}{path}" if places else "M0 0"


def _weight(num_lines: int) -> float:
    return 2.0 if num_lines <= 12 else 1.5 if num_lines <= 60 else 1.0


def _beyond(amount: int) -> str:
    return (
        f"{count(amount, 'trial')} {'lies' if amount == 1 else 'lie'} beyond the chart, at its edge." if amount else ""
    )
