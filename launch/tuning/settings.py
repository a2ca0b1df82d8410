"""What ``conf/tune.yaml`` says of a tuning job."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from dogbreed.sweeps.space import Choice, Space, grid
from launch.names import MAX_TUNING_NAME

if TYPE_CHECKING:
    from omegaconf import DictConfig

STRATEGIES = {"bayesian": "Bayesian", "random": "Random", "grid": "Grid", "hyperband": "Hyperband"}
# What stands for an engine of `hydra.sweeper`, whose other ones have models of their own.
OF_ENGINE = {"grid": "grid", "random": "random", "qmc": "random"}
WARM_STARTS = {"identical": "IdenticalDataAndAlgorithm", "transfer": "TransferLearning"}
# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html, raised as far as AWS raises them.
MAX_JOBS = {"bayesian": 750, "random": 10_000, "grid": 750, "hyperband": 750}
MAX_PARALLEL, MAX_PARENTS = 100, 5
MIN_RUNTIME_S, MAX_RUNTIME_S = 120, 30 * 86_400
MIN_PATIENCE = 3
DEFAULT_JOBS = 20


@dataclass(frozen=True)
class TuneSettings:
    """How a tuning job searches; no ``auto`` is left.

    Args:
        strategy: One of `STRATEGIES`.
        max_jobs: Training jobs in all, >= 1; of a grid the number of its combinations.
        max_parallel: At a time, 1..100, at most ``max_jobs``.
        stop_early: SageMaker ends jobs that promise nothing.
        warm_start: Names of tuning jobs whose results it begins with, at most 5.
        warm_start_type: One of `WARM_STARTS`.
        max_runtime_s: The tuning job ends after so many seconds, 120..2,592,000; None for no limit.
        stop_at: It ends when the objective is as good as this; None for no such number.
        patience: It ends after so many jobs without a better one, >= 3; None for never.

    Raises:
        UserError: a value is out of range or does not go with another.
    """

    strategy: str = "bayesian"
    max_jobs: int = DEFAULT_JOBS
    max_parallel: int = 1
    stop_early: bool = False
    warm_start: tuple[str, ...] = ()
    warm_start_type: str = "identical"
    max_runtime_s: int | None = None
    stop_at: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check every value by itself, then with the others."""
        for key, known in (("strategy", STRATEGIES), ("warm_start_type", WARM_STARTS)):
            if getattr(self, key) not in known:
                msg = f"{key}={getattr(self, key)} does not exist. {did_you_mean(getattr(self, key), known)}"
                raise UserError(msg)
        ranges: dict[str, tuple[float, float]] = {
            "max_jobs": (1, MAX_JOBS[self.strategy]),
            "max_parallel": (1, MAX_PARALLEL),
            "max_runtime_s": (MIN_RUNTIME_S, MAX_RUNTIME_S),
            "patience": (MIN_PATIENCE, math.inf),
        }
        for key, (least, most) in ranges.items():
            value = getattr(self, key)
            if value is not None and not least <= value <= most:
                words = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
                msg = f"{key}={value} must be {words} (strategy={self.strategy})."
                raise UserError(msg)
        self._check_together()

    def _check_together(self) -> None:
        if self.max_parallel > self.max_jobs:
            msg = f"max_parallel={self.max_parallel} is more than max_jobs={self.max_jobs}: lower it."
            raise UserError(msg)
        if self.strategy == "hyperband" and self.stop_early:
            msg = "stop_early=true with strategy=hyperband, which stops jobs early by itself: leave it out."
            raise UserError(msg)
        if self.stop_at is not None and not math.isfinite(self.stop_at):
            msg = f"stop_at={self.stop_at} must be a finite number."
            raise UserError(msg)
        if len(self.warm_start) > MAX_PARENTS:
            msg = f"warm_start names {len(self.warm_start)} tuning jobs, and {MAX_PARENTS} are the most."
            raise UserError(msg)
        for name in self.warm_start:
            if len(name) > MAX_TUNING_NAME or not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name, flags=re.ASCII):
                msg = (
                    f"warm_start={name} is no tuning job's name, which is letters, digits and hyphens, at most "
                    f"{MAX_TUNING_NAME}: python -m launch.jobs list shows names."
                )
                raise UserError(msg)

    @classmethod
    def of(cls, cfg: DictConfig, space: Space, sweeper: Mapping[str, Any]) -> TuneSettings:
        """Read the keys of ``conf/tune.yaml``; ``auto`` is what the sweep's file says for searching here.

        Args:
            cfg: The composed configuration.
            space: What is searched.
            sweeper: The ``hydra.sweeper`` node.

        Raises:
            UserError: as the constructor, or a value is of the wrong kind.
        """
        from omegaconf import OmegaConf

        given = {key: cfg[key] for key in TUNE_KEYS}
        if OmegaConf.is_list(given["warm_start"]):
            given["warm_start"] = list(given["warm_start"])
        _check_kinds(given)
        strategy = given["strategy"]
        if strategy == "auto":
            strategy = OF_ENGINE.get(str(sweeper.get("engine", "")), "bayesian")
        max_jobs = _max_jobs(given["max_jobs"], strategy, space, sweeper)
        max_parallel = given["max_parallel"]
        if max_parallel == "auto":
            max_parallel = min(int(sweeper.get("n_jobs") or 1), max_jobs)
        parents = given["warm_start"] or ()
        parents = (parents,) if isinstance(parents, str) else tuple(parents)
        rest = {key: given[key] for key in ("stop_early", "warm_start_type", "max_runtime_s", "stop_at", "patience")}
        return cls(strategy, max_jobs, max_parallel, warm_start=parents, **rest)


TUNE_KEYS = tuple(item.name for item in fields(TuneSettings))


def _max_jobs(asked: int | str, strategy: str, space: Space, sweeper: Mapping[str, Any]) -> int:
    if strategy != "grid":
        return int(sweeper.get("n_trials") or DEFAULT_JOBS) if asked == "auto" else int(asked)
    grid(space)  # refuses intervals
    size = math.prod(len(parameter.values) for parameter in space.values() if isinstance(parameter, Choice))
    if asked not in ("auto", size):
        msg = f"max_jobs={asked}: strategy=grid runs all {size} combinations; leave it out, or use another strategy."
        raise UserError(msg)
    return size


def _check_kinds(given: Mapping[str, Any]) -> None:
    kinds: dict[str, tuple[tuple[type, ...], str]] = {
        "max_jobs": ((int,), "a whole number or auto"),
        "max_parallel": ((int,), "a whole number or auto"),
        "max_runtime_s": ((int, type(None)), "a whole number of seconds or null"),
        "patience": ((int, type(None)), "a whole number or null"),
        "stop_at": ((int, float, type(None)), "a number or null"),
        "strategy": ((str,), "a word"),
        "warm_start_type": ((str,), "a word"),
        "stop_early": ((bool,), "true or false"),
        "warm_start": ((str, list, type(None)), "a tuning job's name, a list of them, or null"),
    }
    for key, (kind, words) in kinds.items():
        value = given[key]
        is_auto = value == "auto" and "auto" in words
        is_flag = isinstance(value, bool) and bool not in kind
        if not is_auto and (is_flag or not isinstance(value, kind)):
            msg = f"{key}={value} must be {words}."
            raise UserError(msg)
    names: Sequence[Any] = given["warm_start"] if isinstance(given["warm_start"], list) else ()
    if any(not isinstance(name, str) for name in names):
        msg = f"warm_start={given['warm_start']} must be a list of tuning jobs' names."
        raise UserError(msg)
