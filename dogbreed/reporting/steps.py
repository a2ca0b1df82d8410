"""Where the time of training steps goes."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dogbreed.reporting.sources import HUGE, Numbers, Table

OTHER = "other"
# As the rule step_outlier does: the first steps warm up and are no outliers.
WARM_UP, MIN_STEPS, DEVIATIONS = 3, 20, 3.0
# No step takes decades.
MAX_S = 1e9


@dataclass(frozen=True)
class Thinned:
    """A long series in few points: what a picture of that many columns can show.

    Args:
        x: Middle of each bucket.
        low: Smallest value in it; NaN where it has none.
        mean: Their mean.
        high: Largest value in it.
    """

    x: Numbers
    low: Numbers
    mean: Numbers
    high: Numbers


@dataclass(frozen=True)
class StepTimes:
    """What single steps took.

    Args:
        seconds: Time of each step but the first ones, which warm up.
        steps: Their numbers.
        mean: Mean time in seconds.
        deviation: Standard deviation in seconds.
        num_warm_up: How many first steps are left out.
    """

    seconds: Numbers
    steps: Numbers
    mean: float
    deviation: float
    num_warm_up: int

    @property
    def limit(self) -> float:
        """Time in seconds above which a step is an outlier: three standard deviations above the mean."""
        return self.mean + DEVIATIONS * self.deviation

    @property
    def is_outlier(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which steps are outliers."""
        return self.seconds > self.limit


def thin(x: Numbers, y: Numbers, num_buckets: int) -> Thinned:
    """Reduce a series to the smallest, mean and largest value of each bucket of neighbours; none is lost to sight.

    Args:
        x: Positions, in order.
        y: Values; NaN, infinities and what is next to them are left out.
        num_buckets: How many at most, >= 1.
    """
    y = np.where(np.abs(y) < HUGE, y, np.nan)
    num_buckets = max(1, min(num_buckets, len(y)))
    edges = np.linspace(0, len(y), num_buckets + 1).astype(np.int64)
    pairs = [slice(low, high) for low, high in itertools.pairwise(edges) if high > low]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty", RuntimeWarning)
        columns = [[float(of(values[part])) for part in pairs]
                   for of, values in ((np.mean, x), (np.nanmin, y), (np.nanmean, y), (np.nanmax, y))]  # fmt: skip
    return Thinned(*(np.array(column, dtype=np.float64) for column in columns))


def step_times(steps: Table) -> StepTimes | None:
    """Measure what steps took; None without a step that has a time."""
    seconds, numbers = steps.numbers("seconds"), steps.numbers("step")
    is_there = (seconds >= 0) & (seconds < MAX_S) & (np.abs(numbers) < HUGE)
    seconds, numbers = seconds[is_there], numbers[is_there]
    if not len(seconds):
        return None
    num_warm_up = WARM_UP if len(seconds) >= MIN_STEPS else 0
    seconds, numbers = seconds[num_warm_up:], numbers[num_warm_up:]
    return StepTimes(seconds, numbers, float(seconds.mean()), float(seconds.std()), num_warm_up)


def phase_seconds(steps: Table) -> dict[str, Numbers]:
    """Return the seconds that each phase took of each step, by phase, ``other`` last; empty without phases.

    What the phases leave of a step is Lightning's own. On a GPU forward, backward and optimizer are the device's times,
    which go on beside the host's: then they may be more than the whole, and nothing is left.
    """
    present = [name.removesuffix("_s") for name in steps.columns if name.endswith("_s")]
    if not present:
        return {}
    phases = {phase: np.clip(np.nan_to_num(steps.numbers(f"{phase}_s")), 0, MAX_S) for phase in present}
    total = np.clip(np.nan_to_num(steps.numbers("seconds")), 0, MAX_S)
    return {**phases, OTHER: np.maximum(total - np.sum(list(phases.values()), axis=0), 0.0)}


def shares(seconds: Mapping[str, Numbers]) -> dict[str, float]:
    """Return what part of all time each phase took, 0..1; all 0 where no time has passed."""
    sums = {phase: float(values.sum()) for phase, values in seconds.items()}
    total = sum(sums.values())
    return {phase: value / total if total > 0 else 0.0 for phase, value in sums.items()}


def phase_sentence(share: Mapping[str, float]) -> str:
    """Say where the time goes, and what that means."""
    if not any(share.values()):
        return ""
    compute = sum(share.get(phase, 0.0) for phase in ("forward", "backward", "optimizer"))
    begin = f"{100 * compute:.0f} % of the time went into computing (forward, backward, optimizer)"
    extra = {
        "wait": "waiting for pictures: look at data.cache, data.residency and data.num_workers",
        "transfer": "moving batches to the device: pictures that live there (data.residency=device) need no moving",
        "callbacks": "callbacks: checkpoints and looks at tensors (checkpoint_every_s, diagnose.every_n_steps)",
        OTHER: "between the phases, in Lightning's own loop: larger batches make it weigh less",
    }
    worst = max(extra, key=lambda phase: share.get(phase, 0.0))
    if share.get(worst, 0.0) < 0.1:
        return f"{begin}; none of the rest took a tenth."
    return f"{begin}, {100 * share[worst]:.0f} % into {extra[worst]}."
