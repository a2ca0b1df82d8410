"""A sampler without a memory of its own: what it proposes depends on the seed and on the study, not on the process.

Optuna's samplers draw from a generator that lives as long as the process does: a search that is interrupted would go on
with other values. Here each proposal has a sampler of its own, whose seed is made from the search's and the proposal's
place in the study. It proposes the whole of a trial at once, and nothing twice where a space has an end.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from dogbreed.sweeps.heartbeat import RESTARTS, SURPLUS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# So often at most is a proposal thrown away that was tried before.
MAX_ATTEMPTS = 20
# Digits that count in a proposal: people read it.
NUM_DIGITS = 6

Build = Callable[[int | None, int], BaseSampler]


class SeededSampler(BaseSampler):
    """Proposes with a sampler made for each trial.

    Args:
        build: Gets a proposal's seed and one that stays the same; returns a sampler.
        seed: Of the search; None: chance.
        distributions: The search space.
        is_finite: The space has an end, and what was tried is not proposed again as long as anything else is found.
    """

    def __init__(
        self, build: Build, seed: int | None, distributions: Mapping[str, BaseDistribution], *, is_finite: bool
    ) -> None:
        self._build = build
        self._seed = seed
        self._distributions = dict(distributions)
        self._is_finite = is_finite

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all of the space: proposals are made at once."""
        return {name: one for name, one in self._distributions.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a trial's values."""
        trials = _all_trials(study)
        tried = {_key(one.params, search_space) for one in trials if one.number != trial.number and _counts(one)}
        proposed: dict[str, Any] = {}
        for attempt in range(MAX_ATTEMPTS if self._is_finite else 1):
            proposed = self._propose(study, trial, search_space, self._seed_of(trials, trial, attempt))
            if not self._is_finite or _key(proposed, search_space) not in tried:
                return proposed
        rest = [one for one in _combinations(search_space) if _key(one, search_space) not in tried]
        chance = np.random.default_rng(self._seed_of(trials, trial, MAX_ATTEMPTS))
        return rest[int(chance.integers(len(rest)))] if rest else proposed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Propose what is no part of the space."""
        inner = self._inner(self._seed_of(_all_trials(study), trial, 0))
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the engine keep in the study what it needs of a trial."""
        with _quiet():
            self._inner(self._seed_of(_all_trials(study), trial, 0)).after_trial(study, trial, state, values)

    def _propose(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution], seed: int | None
    ) -> dict[str, Any]:
        with _quiet():
            inner = self._inner(seed)
            inner.before_trial(study, trial)
            theirs = inner.infer_relative_search_space(study, trial)
            proposed = inner.sample_relative(study, trial, theirs)
            return {
                name: _readable(
                    proposed[name] if name in proposed else inner.sample_independent(study, trial, name, one), one
                )
                for name, one in search_space.items()
            }

    def _inner(self, seed: int | None) -> BaseSampler:
        return self._build(seed, self._seed or 0)

    def _seed_of(self, trials: Sequence[FrozenTrial], trial: FrozenTrial, attempt: int) -> int | None:
        if self._seed is None:
            return None
        # Not its number: a search that was interrupted has numbers that an uninterrupted one has not.
        place = sum(one.number < trial.number and _is_proposal(one) for one in trials)
        return int(np.random.SeedSequence([self._seed, place, attempt]).generate_state(1)[0])


def _readable(value: Any, distribution: BaseDistribution) -> Any:
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return value
    return min(max(float(f"{value:.{NUM_DIGITS}g}"), distribution.low), distribution.high)


def _is_proposal(trial: FrozenTrial) -> bool:
    return not trial.user_attrs.get(SURPLUS) and not trial.user_attrs.get(RESTARTS)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.WAITING and not trial.user_attrs.get(SURPLUS)


def _key(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> tuple[float, ...]:
    """Return a trial's values as Optuna keeps them, which tells True from 1."""
    return tuple(one.to_internal_repr(params[name]) for name, one in distributions.items() if name in params)


def _combinations(distributions: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    lists = [_values(one) for one in distributions.values()]
    return (dict(zip(distributions, values, strict=True)) for values in itertools.product(*lists))


def _values(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = Decimal(str(distribution.step))
    count = int((Decimal(str(distribution.high)) - Decimal(str(distribution.low))) / step) + 1
    numbers = (Decimal(str(distribution.low)) + place * step for place in range(count))
    return [int(one) if isinstance(distribution, IntDistribution) else float(one) for one in numbers]


def _all_trials(study: Study) -> list[FrozenTrial]:
    # Hyperband shows a sampler only the trials of a bracket.
    return study._storage.get_all_trials(study._study_id, deepcopy=False)  # noqa: SLF001


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's warnings of what it calls experimental from each trial."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        yield
