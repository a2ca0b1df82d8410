"""Studies opened or made, by whoever comes first; what is wrong with them, in a sentence."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from dogbreed.sweeps.database import open_storage, shown
from dogbreed.sweeps.distributions import num_combinations, proposal_of, to_distributions
from dogbreed.sweeps.engines import GRID, build_inner_sampler, build_pruner
from dogbreed.sweeps.space import MAX_VALUES, Space, Value, grid, parameter_text
from dogbreed.sweeps.study import ABOUT

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

log = logging.getLogger(__name__)

FORMAT = 1
# Trials named in advance, by their place in the queue.
QUEUED = "queued"
# One who makes a study and is not heard of for so long has died at it.
MAKER_S = 15.0


@dataclass(frozen=True)
class StudyPlan:
    """What a study is.

    Args:
        storage: Address of the database.
        name: Of the study in it.
        space: What is searched.
        engine: Who proposes; one of `dogbreed.sweeps.engines.ENGINES`.
        seed: Of the engine.
        engine_options: Further arguments of Optuna's sampler.
        pruner: As `dogbreed.sweeps.engines.pruner_settings` returns it.
        objectives: Metrics that are its values.
        modes: ``max`` or ``min`` for each.
        config: Hash of the configuration that all its trials share.
        default: Values of the first trial; None: the engine's.
        is_own_file: The database is the file in the sweep's folder.
    """

    storage: str
    name: str
    space: Space
    engine: str
    seed: int | None
    engine_options: Mapping[str, Any]
    pruner: Mapping[str, Any]
    objectives: Sequence[str]
    modes: Sequence[str]
    config: str
    default: Mapping[str, Value] | None
    is_own_file: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """What the study says of itself, for processes that know only where it is."""
        return {
            "format": FORMAT,
            "fingerprint": {"config": self.config},
            "engine": self.engine,
            "pruner": dict(self.pruner),
            "params": {key: parameter_text(parameter) for key, parameter in self.space.items()},
            "objective": list(self.objectives),
            "modes": list(self.modes),
        }

    def build_sampler(self) -> BaseSampler:
        """Build what proposes values; the grid's have been named."""
        from optuna.samplers import RandomSampler

        from dogbreed.sweeps.sampler import SeededSampler

        if self.engine == GRID:
            return RandomSampler(self.seed)
        build = partial(build_inner_sampler, self.engine, self.engine_options)
        build(0, 0)  # what is wrong with its options is said before any trial
        total = num_combinations(self.space)
        is_finite = total is not None and total <= MAX_VALUES
        return SeededSampler(build, self.seed, to_distributions(self.space), is_finite=is_finite)


def open_study(plan: StudyPlan) -> Study:
    """Open a study, made if it is not there.

    Of several who come at the same time one makes it, and the others wait until it says what it is.

    Raises:
        UserError: the storage cannot be reached, or the study searches something else.
    """
    import optuna
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    sampler, pruner = plan.build_sampler(), build_pruner(plan.pruner)
    if plan.engine == GRID:
        _check_grid(plan.space)
    storage = open_storage(plan.storage, is_own=plan.is_own_file)
    directions = [StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in plan.modes]
    try:
        study = optuna.create_study(
            storage=storage, study_name=plan.name, directions=directions, sampler=sampler, pruner=pruner
        )
        _make(study, plan)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=plan.name, sampler=sampler, pruner=pruner)
        if not _is_made(study, plan):
            _make(study, plan)
        _check_same(study, plan)
    return study


def _make(study: Study, plan: StudyPlan) -> None:
    """Name the trials that are known in advance, and then say what the study is."""
    known: list[Mapping[str, Value]] = []
    if plan.engine == GRID:
        known = list(grid(plan.space))
    elif plan.default:
        known = [plan.default]
    queued = {trial.user_attrs.get(QUEUED) for trial in study.get_trials(deepcopy=False)}
    for place, values in enumerate(known):
        if place not in queued:
            proposal = {key: proposal_of(plan.space[key], value) for key, value in values.items()}
            study.enqueue_trial(proposal, user_attrs={QUEUED: place})
    study.set_user_attr(ABOUT, plan.about)


def _is_made(study: Study, plan: StudyPlan) -> bool:
    """Wait until a study says what it is; False if its maker has died before that."""
    seen, began = -1, time.monotonic()
    while ABOUT not in study.user_attrs:
        trials = study.get_trials(deepcopy=False)
        if any(QUEUED not in trial.user_attrs for trial in trials):
            msg = (
                f"Study {plan.name} in {shown(plan.storage)} was not made by dogbreed: choose another name, "
                "hydra.sweeper.study_name=NAME."
            )
            raise UserError(msg)
        if len(trials) > seen:
            seen, began = len(trials), time.monotonic()
        if time.monotonic() - began > MAKER_S:
            return False
        time.sleep(0.2)
    return True


def _check_same(study: Study, plan: StudyPlan) -> None:
    """Refuse a study that searches something else, with the first thing that is different."""
    theirs, mine = study.user_attrs[ABOUT], plan.about
    different = ""
    for key in {**mine["params"], **theirs["params"]}:
        one, other = (params.get(key, "nothing") for params in (theirs["params"], mine["params"]))
        if one != other:
            different = f"{key} goes through {one} there and {other} here"
            break
    for name in ("objective", "modes"):
        if theirs[name] != mine[name] and not different:
            different = f"its {name} is {', '.join(theirs[name])}, not {', '.join(mine[name])}"
    if GRID in (theirs["engine"], mine["engine"]) and theirs["engine"] != mine["engine"]:
        different = different or f"its engine is {theirs['engine']}, not {mine['engine']}"
    if theirs["fingerprint"] != mine["fingerprint"]:
        different = different or "its trials have another configuration"
    if different:
        msg = (
            f"Study {plan.name} in {shown(plan.storage)} searches something else ({different}): choose another name, "
            "hydra.sweeper.study_name=NAME, or another sweep folder."
        )
        raise UserError(msg)


def _check_grid(space: Space) -> None:
    grid(space)
    total = num_combinations(space) or 0
    if total > MAX_VALUES:
        msg = f"The grid has {total} combinations, more than {MAX_VALUES}: leave out values, or use engine=random."
        raise UserError(msg)
