"""Rules about time.

Sources of names, parameters and defaults: "List of Debugger built-in profiler rules" in AWS's documentation of
SageMaker. Thresholds are in percent where they are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dogbreed.diagnosis.observations import Observation, Setting, StepTimes
from dogbreed.diagnosis.rule import Finding, Rule

ANY = (0.0, float("inf"))
COUNT = (1, float("inf"))
PERCENT = (0.0, 100.0)
WARM_UP, MIN_STEPS, REMEMBERED = 3, 20, 5000


@dataclass
class StepOutlier(Rule):
    """Fires when single steps take far longer than the others.

    Args:
        stddev: Standard deviations above the mean from which a step is an outlier.
        n_outliers: Outliers that are let pass.
        min_ratio: What an outlier must take of the mean at least: where all are alike, a hair is three deviations.
    """

    advice: ClassVar[str] = (
        "Something holds single steps up: a slow disk (data.cache), another process, or checkpoints "
        "(checkpoint_every_s)."
    )
    stddev: float = 3.0
    n_outliers: int = 10
    min_ratio: float = 2.0
    _seconds: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._require(stddev=ANY, n_outliers=ANY, min_ratio=(1.0, float("inf")))

    def look(self, seen: Observation) -> Finding | None:
        """Look at the time of each step but the first ones, which warm up."""
        if not isinstance(seen, StepTimes):
            return None
        self._seconds = [*self._seconds, *(float(value) for value in seen.total_s)][-REMEMBERED:]
        seconds = np.asarray(self._seconds[WARM_UP:])
        if len(seconds) < MIN_STEPS:
            return None
        mean, deviation = seconds.mean(), seconds.std()
        outliers = seconds[(seconds > mean + self.stddev * deviation) & (seconds > self.min_ratio * mean)]
        if len(outliers) <= self.n_outliers:
            return None
        evidence = (
            f"{len(outliers)} of {len(seconds)} steps took more than {mean + self.stddev * deviation:.3g} s (mean "
            f"{mean:.3g} s, {self.stddev:g} standard deviations), the longest {outliers.max():.3g} s"
        )
        return Finding(seen.step, evidence, {"mean_s": float(mean), "num_outliers": len(outliers)})


@dataclass
class Dataloader(Rule):
    """Fires when training waits for its pictures.

    AWS's rule counts loader processes against cores; here that is part of the advice, what counts is the wait.

    Args:
        max_wait: Percent of the time that may be spent waiting.
        num_steps: Steps from which it is judged.
    """

    advice: ClassVar[str] = (
        "Keep decoded pictures (data.cache=auto), hold them on the GPU (data.residency=device), or start more loader "
        "processes (data.num_workers)."
    )
    max_wait: float = 20.0
    num_steps: int = 50
    _total_s: float = field(default=0.0, init=False)
    _wait_s: float = field(default=0.0, init=False)
    _num_steps: int = field(default=0, init=False)
    _setting: Setting | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._require(max_wait=PERCENT, num_steps=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at what part of each step was waiting."""
        if isinstance(seen, Setting):
            self._setting = seen
        if not isinstance(seen, StepTimes):
            return None
        self._total_s += float(seen.total_s.sum())
        self._wait_s += float(seen.wait_s.sum())
        self._num_steps += len(seen.total_s)
        share = 100 * self._wait_s / max(self._total_s, 1e-9)
        if self._num_steps < self.num_steps or share <= self.max_wait:
            return None
        workers = ""
        if self._setting:
            workers = f" with {self._setting.num_workers} loader processes on {self._setting.num_cores} cores"
        return Finding(seen.step, f"{share:.0f} % of the time waiting for pictures{workers}", {"share": share})


@dataclass
class MaxInitializationTime(Rule):
    """Fires when too long passes before the first step.

    Args:
        threshold: Minutes.
    """

    advice: ClassVar[str] = (
        "Keep what is fetched and decoded first (data.cache), and have weights at hand (model.weights)."
    )
    threshold: float = 20.0

    def __post_init__(self) -> None:
        self._require(threshold=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at the start."""
        if not isinstance(seen, Setting) or seen.seconds <= 60 * self.threshold:
            return None
        return Finding(0, f"{seen.seconds / 60:.1f} minutes until the first step", {"seconds": seen.seconds})
