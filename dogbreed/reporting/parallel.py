"""Parallel coordinates: an axis a parameter, the objective last, and a line a trial through its values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dogbreed.errors import count
from dogbreed.reporting.canvas import Point, label_svg
from dogbreed.reporting.drawing import Figure
from dogbreed.reporting.marks import Palette, describe, settings_words, tag_of, value_scale, with_values
from dogbreed.reporting.scales import Categories, Scale, parameter_scale
from dogbreed.reporting.search import Search, Trial
from dogbreed.reporting.words import printable, setting

MAX_AXES = 11
WIDTH, HEIGHT = 940, 400
LEFT, RIGHT, TOP, BOTTOM = 66, 74, 52, 14
MIN_GAP = 104
# How far from its axis a tick's text may reach.
MAX_TICK_LETTERS = 14


def draw_parallel(search: Search, palette: Palette) -> Figure | None:
    """Draw a line a trial; None where no trial has both parameters and a value.

    Axes stand in the order of what mattered, the most important one beside the objective. Lines are coloured by rank,
    the best one lies on top; those of trials that ended early are dashed.
    """
    trials = [trial for trial in with_values(search) if trial.params]
    keys = [key for key in search.keys if len({setting(trial.params.get(key)) for trial in trials}) > 1][:MAX_AXES]
    if not trials or not keys:
        return None
    keys.reverse()
    scales: list[Scale] = [_scale(search, trials, key) for key in keys]
    value, beyond = value_scale(search, trials)
    scales.append(value)
    width = max(WIDTH, LEFT + RIGHT + MIN_GAP * len(keys))
    gap = (width - LEFT - RIGHT) / len(keys)
    places = [LEFT + gap * rank for rank in range(len(scales))]
    parts = [_lines(search, palette, trials, keys, scales, places)]
    for scale, x, name in zip(scales, places, [*keys, search.objectives[0]], strict=True):
        parts.append(_axis(scale, x, name, is_last=scale is value))
    label = f"The parameters of {count(len(trials), 'trial')} and their {search.objectives[0]}"
    svg = (
        f'<svg class="chart drawn parallel" viewBox="0 0 {width:.0f} {HEIGHT}" role="img" aria-label="{label}" '
        f'style="min-width:{min(width, 110 * len(scales)):.0f}px">{printable("".join(parts))}</svg>'
    )
    undrawn = len(search.trials) - len(trials)
    notes = (
        [f"{count(undrawn, 'trial')} without a value {'is' if undrawn == 1 else 'are'} not drawn."] if undrawn else []
    )
    notes += [f"{count(beyond, 'trial')} beyond the end of the last axis."] if beyond else []
    notes += [f"The {MAX_AXES} parameters that matter most."] if len(search.keys) > MAX_AXES else []
    return Figure("Parallel coordinates", svg, (), " ".join(notes))


def _lines(
    search: Search,
    palette: Palette,
    trials: Sequence[Trial],
    keys: Sequence[str],
    scales: Sequence[Scale],
    places: Sequence[float],
) -> str:
    weight, opacity = (2.0, 0.9) if len(trials) <= 15 else (1.6, 0.75) if len(trials) <= 60 else (1.1, 0.6)
    ranks = {trial.number: rank for rank, trial in enumerate(sorted(trials, key=lambda trial: trial.number))}
    drawn = []
    for trial in trials:
        shift = ranks[trial.number] / max(len(trials) - 1, 1) - 0.5
        heights = [_height(scale, trial.params.get(key), shift) for scale, key in zip(scales, keys, strict=False)]
        points = [*zip(places, [*heights, _height(scales[-1], trial.value, shift)], strict=True)]
        is_best = trial.number == palette.best
        style = f"stroke:{palette.color(trial)};stroke-width:var(--wide,{3.2 if is_best else weight})"
        style += "" if is_best else f";stroke-opacity:var(--solid,{opacity})"
        style += "" if trial.is_finished else ";stroke-dasharray:3 4;stroke-opacity:var(--solid,0.4)"
        path = _path(points)
        title = describe(search, trial, *settings_words(trial, list(reversed(keys))))
        drawn.append(
            f'<a href="#trial-{trial.number}" tabindex="-1" class="{tag_of(trial)}"><path class="hit" d="{path}"/>'
            f'<path d="{path}" fill="none" style="{style}"/><title>{_escaped(title)}</title></a>'
        )
    return "".join(drawn)


def _axis(scale: Scale, x: float, name: str, *, is_last: bool) -> str:
    """Return an axis with its name, the last part of a key below the others, and its ticks on paper of their own."""
    group, dot, key = name.rpartition(".")
    anchor = "middle"
    parts = [f'<path class="axis strong" d="M{x:.1f} {TOP - 6}V{HEIGHT - BOTTOM + 6}"/>']
    parts += [label_svg(x, TOP - 36, f"{group}{dot}", anchor)] if group else []
    parts += [label_svg(x, TOP - 20, _short(key, 17), anchor, "strong")]
    for share, text in scale.ticks(6):
        y = _y(share)
        side, at = ("start", x + 8) if is_last else ("end", x - 7)
        parts.append(f'<path class="axis strong" d="M{x - 3:.1f} {y:.1f}h6"/>')
        parts.append(label_svg(at, y + 4, _short(text, MAX_TICK_LETTERS), side, "over"))
    return "".join(parts)


def _scale(search: Search, trials: Sequence[Trial], key: str) -> Scale:
    return parameter_scale([trial.params[key] for trial in trials if key in trial.params], search.texts.get(key, ""))


def _height(scale: Scale, value: object, shift: float) -> float:
    """Return where a line crosses an axis; lines through the same value of a few lie beside each other."""
    share = scale.place(value)
    if isinstance(scale, Categories):
        share += shift * scale.band * 0.55
    return _y(share) if share == share else math.nan


def _path(points: Sequence[Point]) -> str:
    """Return a smooth path through places, with a gap where a trial has no such parameter."""
    path, before = "", None
    for x, y in points:
        if math.isnan(y):
            before = None
            continue
        if before is None:
            path += f"M{x:.1f} {y:.1f}"
        else:
            middle = (before[0] + x) / 2
            path += f"C{middle:.1f} {before[1]:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}"
        before = (x, y)
    return path


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _escaped(text: str) -> str:
    from xml.sax.saxutils import escape

    return escape(printable(text))
