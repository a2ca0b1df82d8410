"""The charts of a run's report: from series to figures with a title, a legend and markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dogbreed.errors import count
from dogbreed.reporting.chart import Chart, color
from dogbreed.reporting.quality import Calibration
from dogbreed.reporting.sources import Numbers, Table
from dogbreed.reporting.steps import StepTimes, Thinned, thin
from dogbreed.reporting.usage import Usage
from dogbreed.reporting.words import duration, number, percent

# Points of a curve: as many as a chart has columns to show them in, or fewer.
NUM_BUCKETS = 220
NUM_PHASE_BUCKETS = 110
NUM_BARS = 44
MAX_MARKS, MAX_TIPS = 40, 110
MAX_OUTLIERS = 200
NUM_SERIES = 8


@dataclass(frozen=True)
class Figure:
    """A chart with what stands around it.

    Args:
        title: What it shows.
        svg: The drawing, safe markup.
        legend: Names and the CSS variables of their colours.
        note: Something to know when reading it.
    """

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def draw_epochs(epochs: Table, metric: str, title: str, *, is_share: bool = False) -> Figure | None:
    """Draw a metric of train and validation over the epochs; None where neither has it."""
    series = [(split, name, epochs.numbers(f"{split}/{metric}"))
              for split, name in (("train", "train"), ("val", "validation"))]  # fmt: skip
    series = [item for item in series if np.isfinite(item[2]).any()]
    if not series:
        return None
    chart, x = Chart(f"{title} over the epochs", "epoch"), epochs.numbers("epoch")
    for split, name, values in series:
        chart.line(x, values, split, marks=len(x) <= MAX_MARKS)
        _tips(chart, x, values, [f"epoch {at:.0f}, {name}: " for at in x], percent if is_share else number)
    chart.whole_steps()
    if is_share:
        chart.as_percent()
    else:
        chart.log_if_wide(*(values for *_, values in series))
    return Figure(title, chart.svg(), tuple((name, split) for split, name, _ in series))


def draw_rates(epochs: Table) -> Figure | None:
    """Draw the learning rates at the ends of the epochs; None where there are none."""
    names = [name for name in epochs.columns if name.startswith("lr/")]
    groups: dict[tuple[float, ...], str] = {}
    for name in names:  # groups with the same rate are one line
        rates = tuple(epochs.numbers(name).tolist())
        group = name.removeprefix("lr/")
        groups[rates] = f"{groups[rates]}, {group}" if rates in groups else group
    if not groups:
        return None
    chart, x, legend = Chart("Learning rate over the epochs", "epoch"), epochs.numbers("epoch"), []
    for place, (rates, group) in enumerate(list(groups.items())[:NUM_SERIES], start=1):
        values = np.array(rates)
        chart.line(x, values, f"series-{place}", marks=len(x) <= MAX_MARKS)
        _tips(chart, x, values, [f"epoch {at:.0f}, {group}: " for at in x], number)
        legend.append((group, f"series-{place}"))
    chart.whole_steps()
    rest = f"{len(groups) - NUM_SERIES} more groups are not shown." if len(groups) > NUM_SERIES else ""
    return Figure("Learning rate at the end of each epoch", chart.svg(), tuple(legend), rest)


def draw_step_losses(steps: Table) -> Figure | None:
    """Draw the loss of each step; None where none is a number."""
    losses, x = steps.numbers("loss"), steps.numbers("step")
    if not np.isfinite(losses).any():
        return None
    thinned = thin(x, losses, NUM_BUCKETS)
    chart = Chart("Training loss of each step", "step")
    _range(chart, thinned, "train", lambda value: f"loss {number(value)}")
    chart.log_if_wide(losses)
    num_lost = int((~np.isfinite(losses)).sum())
    note = f"In {count(num_lost, 'step')} the loss was no finite number." if num_lost else ""
    return Figure("Training loss of each step", chart.svg(), (), note)


def draw_histogram(times: StepTimes) -> Figure:
    """Draw how often steps took how long, with their mean and the limit of outliers."""
    longest = max(times.limit * 1.15, float(np.quantile(times.seconds, 0.995)), 1e-6)
    unit, scale = ("ms", 1000.0) if longest < 1 else ("s", 1.0)
    num_bars = min(NUM_BARS, max(8, int(np.sqrt(len(times.seconds)) * 1.5)))
    low = min(float(times.seconds.min()), longest)
    counts, edges = np.histogram(np.minimum(times.seconds, longest), num_bars, (low * 0.95, longest * 1.0001))
    chart = Chart("How long steps took", f"{unit} a step")
    middles, width = scale * (edges[:-1] + edges[1:]) / 2, scale * (edges[1] - edges[0])
    is_late = edges[:-1] > times.limit
    for late, name in ((False, "train"), (True, "bad")):
        chosen = is_late == late
        chart.axes.bar(middles[chosen], counts[chosen], 0.86 * width, color=color(name), linewidth=0)
    for left, right, amount in zip(edges[:-1], edges[1:], counts, strict=True):
        if amount:
            end = f"{duration(right)}" if right < edges[-1] else "longer"
            chart.box_tip(
                scale * left, scale * right, 0, amount, f"{duration(left)} to {end}: {count(int(amount), 'step')}"
            )
    for at, name in ((times.mean, "ink"), (times.limit, "bad")):
        chart.axes.axvline(scale * at, color=color(name), linewidth=1.5, linestyle=(0, (4, 3)))
    legend = ((f"mean {duration(times.mean)}", "ink"), (f"mean + 3σ {duration(times.limit)}", "bad"))
    return Figure("How long steps took", chart.svg(), legend)


def draw_times(times: StepTimes) -> Figure:
    """Draw the time of each step, outliers as points."""
    scale, unit = (1000.0, "ms") if times.seconds.max() < 1 else (1.0, "s")
    chart = Chart("Time of each step", "step")
    is_outlier = times.is_outlier
    _range(chart, thin(times.steps, scale * np.where(is_outlier, np.nan, times.seconds), NUM_BUCKETS), "train",
           lambda value: f"{number(value)} {unit}")  # fmt: skip
    slowest = np.flatnonzero(is_outlier)
    slowest = np.sort(slowest[np.argsort(-times.seconds[slowest], kind="stable")][:MAX_OUTLIERS])
    x, y = times.steps[slowest], scale * times.seconds[slowest]
    chart.axes.plot(x, y, linestyle="", marker="o", markersize=4.5, color=color("bad"), markeredgewidth=0)
    chart.point_tips(x, y, [f"step {at:.0f}: {duration(value / scale)}" for at, value in zip(x, y, strict=True)])
    chart.axes.axhline(scale * times.limit, color=color("bad"), linewidth=1.5, linestyle=(0, (4, 3)))
    chart.axes.set_ylim(bottom=0)
    return Figure(f"Time of each step, {unit}", chart.svg(), (("outliers", "bad"),))


def draw_phases(steps: Numbers, phases: Mapping[str, Numbers]) -> Figure:
    """Draw the time of steps by phase, stacked."""
    thinned = {phase: thin(steps, seconds, NUM_PHASE_BUCKETS) for phase, seconds in phases.items()}
    x = next(iter(thinned.values())).x
    tops = np.cumsum([np.nan_to_num(item.mean) for item in thinned.values()], axis=0)
    scale, unit = (1000.0, "ms") if tops.max() < 1 else (1.0, "s")
    chart = Chart("Time of steps by phase", "step")
    bottom = np.zeros_like(x)
    for phase, top in zip(thinned, tops, strict=True):
        chart.band(x, scale * bottom, scale * top, f"phase-{phase}", alpha=0.9)
        bottom = top
    # A few very long steps must not press all the others flat.
    usual = float(np.quantile(tops[-1], 0.95))
    chart.axes.set_ylim(0, scale * max(min(tops[-1].max() * 1.05, usual * 2), 1e-9))
    chart.axes.margins(x=0)
    note = "Longer steps than the chart is high are cut." if tops[-1].max() * 1.05 > usual * 2 else ""
    return Figure(f"Time of steps by phase, {unit}", chart.svg(), (), note)


def draw_cores(usage: Usage) -> Figure | None:
    """Draw the mean of all cores, and a band from the least to the most busy one."""
    if not usage.cores_NC.shape[1]:
        return None
    chart = Chart("Cores busy over time", "seconds")
    low, mean, high = (thin(usage.seconds, of(usage.cores_NC, axis=1), NUM_BUCKETS)
                       for of in (np.min, np.mean, np.max))  # fmt: skip
    chart.band(mean.x, low.low, high.high, "series-1")
    chart.line(mean.x, mean.mean, "series-1")
    legend = [("mean of the cores, band from the least to the most busy one", "series-1")]
    waits = thin(usage.seconds, usage.io_wait, NUM_BUCKETS)
    if np.isfinite(waits.mean).any():
        chart.line(waits.x, waits.mean, "series-2", width=1.5)
        legend.append(("waiting for disks", "series-2"))
    _tips(chart, mean.x, mean.mean, [f"{at:.0f} s: " for at in mean.x], percent)
    chart.as_percent()
    return Figure(f"{count(usage.cores_NC.shape[1], 'core')} over time", chart.svg(), tuple(legend))


def draw_memory(usage: Usage) -> Figure | None:
    """Draw the memory of the process; None where it was not measured."""
    if not np.isfinite(usage.memory_gb).any():
        return None
    chart = Chart("Memory of the process over time", "seconds")
    thinned = thin(usage.seconds, usage.memory_gb, NUM_BUCKETS)
    _range(chart, thinned, "series-3", lambda value: f"{number(value)} GB", at="{:.0f} s")
    chart.axes.set_ylim(bottom=0)
    return Figure("Memory of the process, GB", chart.svg())


def draw_gpus(usage: Usage, values: Mapping[str, Numbers], title: str) -> Figure | None:
    """Draw a line a GPU; None without one."""
    if not values:
        return None
    chart, legend = Chart(f"{title} over time", "seconds"), []
    for place, (name, shares) in enumerate(list(values.items())[:NUM_SERIES], start=1):
        thinned = thin(usage.seconds, shares, NUM_BUCKETS)
        chart.line(thinned.x, thinned.mean, f"series-{place}")
        _tips(chart, thinned.x, thinned.mean, [f"{at:.0f} s, {name}: " for at in thinned.x], percent)
        legend.append((name, f"series-{place}"))
    chart.as_percent()
    return Figure(title, chart.svg(), tuple(legend))


def draw_calibration(calibration: Calibration) -> Figure:
    """Draw how often answers are right against how sure they are."""
    chart = Chart("How sure it is against how often it is right", "how sure it is")
    sure, right = calibration.confidence, calibration.accuracy
    chart.axes.plot([0, 1], [0, 1], color=color("muted"), linewidth=1.2, linestyle=(0, (4, 3)))
    chart.axes.vlines(sure, sure, right, color=color("bad"), linewidth=2, alpha=0.55)
    sizes = 18 + 160 * calibration.num_pictures / calibration.num_pictures.max()
    chart.axes.scatter(sure, right, s=sizes, color=color("val"), linewidth=0, alpha=0.9)
    texts = [f"{count(int(amount), 'picture')}: {percent(x)} sure, {percent(y)} right"
             for x, y, amount in zip(sure, right, calibration.num_pictures, strict=True)]  # fmt: skip
    chart.point_tips(sure, right, texts)
    chart.as_percent()
    chart.axes.set_xlim(-0.02, 1.04)
    chart.axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    legend = (("right, the larger the more pictures", "val"), ("gap", "bad"), ("perfect", "muted"))
    return Figure("How often it is right, by how sure it is", chart.svg(), legend)


def draw_compared(title: str, curves: Sequence[tuple[str, str, Numbers, Numbers]], *, is_share: bool) -> Figure | None:
    """Lay the curves of several runs over each other.

    Args:
        title: What they show.
        curves: Name of the run, CSS variable of its colour, epochs and values.
        is_share: Whether the values are shares.
    """
    curves = [curve for curve in curves if np.isfinite(curve[3]).any()]
    if not curves:
        return None
    chart = Chart(f"{title} of the runs over the epochs", "epoch")
    write = percent if is_share else number
    for name, variable, x, y in curves:
        chart.line(x, y, variable, marks=len(x) <= MAX_MARKS // 2)
        _tips(chart, x, y, [f"{name}, epoch {at:.0f}: " for at in x], write)
    chart.whole_steps()
    if is_share:
        chart.as_percent()
    else:
        chart.log_if_wide(*(y for *_, y in curves))
    return Figure(
        title, chart.svg(), tuple((name, variable) for name, variable, *_ in reversed(curves) if variable != "muted")
    )


def _range(chart: Chart, thinned: Thinned, name: str, write: Callable[[float], str], at: str = "step {:.0f}") -> None:
    """Draw a line of means, in a band from the smallest to the largest value of each bucket."""
    chart.band(thinned.x, thinned.low, thinned.high, name)
    chart.line(thinned.x, thinned.mean, name, width=1.6)
    _tips(chart, thinned.x, thinned.mean, [f"{at.format(x)}: " for x in thinned.x], write)


def _tips(chart: Chart, x: Numbers, y: Numbers, begins: Sequence[str], write: Callable[[float], str]) -> None:
    """Let some of the points, spread over all, say where they are and what they are."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_TIPS)).astype(np.int64))
    chart.point_tips(x[chosen], y[chosen], [f"{begins[place]}{write(float(y[place]))}" for place in chosen])
