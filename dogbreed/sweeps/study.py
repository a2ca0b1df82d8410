"""The study: what was tried and what came of it, in a database that several processes and machines can share.

A worker *claims* a trial and *settles* it. A study that is to have N finished trials never has more, however many
workers claim at once: one claims after the other (`dogbreed.sweeps.turns`); and where the database knows no turns, who
holds a trial that has N others below it, that have finished or may still finish, gives it back. Numbers are given out
by the database, one by one: a trial can only lose such others, never gain any.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed.sweeps.distributions import num_combinations, suggest, to_distributions
from dogbreed.sweeps.engines import GRID
from dogbreed.sweeps.heartbeat import HEARTBEAT, REQUEUED_AS, SURPLUS, WORKER
from dogbreed.sweeps.space import MAX_VALUES, Space
from dogbreed.sweeps.turns import exclusively

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

# The study's user attribute that says what a trial's process needs to know.
ABOUT = "dogbreed"
# User attribute of a trial whose task returns no number, which a grid can do without.
NO_VALUE = "no_value"


@dataclass(frozen=True)
class Progress:
    """How a study stands.

    Args:
        finished: Trials that have completed or were ended early; in a grid also those that have failed.
        running: Trials that somebody is at.
        waiting: Trials that are named and not begun.
        failed: Trials that failed of themselves, not with their worker.
    """

    finished: int
    running: int
    waiting: int
    failed: int


def claim(study: Study, n_trials: int | None, space: Space, worker: Mapping[str, Any]) -> Trial | None:
    """Take the next trial, if the study is to have one more.

    Args:
        study: Opened by `dogbreed.sweeps.opening.open_study`.
        n_trials: Finished trials that the study shall have in the end; None: those that are waiting.
        space: What is searched.
        worker: Who takes it, `dogbreed.sweeps.heartbeat.this_worker`.

    Returns:
        A running trial whose ``params`` are decided, or None: as many as wanted have finished or run, or there is
        nothing left to try.
    """
    with exclusively(study):
        trial = _take(study, n_trials, space, worker)
    if trial is not None:
        for name, distribution in to_distributions(space).items():
            suggest(trial, name, distribution)
    return trial


def settle(
    study: Study, trial: Trial | int, state: TrialState | str, values: Sequence[float | None] | float | None = None,
    **attributes: Any,
) -> TrialState:  # fmt: skip
    """Write down how a trial has ended; one that is written down already, of a worker taken for dead, stays as it is.

    Args:
        study: The trial's.
        trial: It, or its number.
        state: ``completed``, ``pruned`` or ``failed``, or Optuna's own.
        values: Of the objectives; without one of them a completed trial is a failed one.
        attributes: More to remember, as JSON can hold it; None is left out.

    Returns:
        The state that the study has it in.
    """
    from optuna.trial import TrialState

    if isinstance(state, str):
        names = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        state = names.get(state, TrialState.FAIL)
    listed = [values] if isinstance(values, int | float) else list(values or [])
    numbers = [float(value) for value in listed if value is not None and not math.isnan(value)]
    if state == TrialState.COMPLETE and (len(numbers) < len(listed) or len(numbers) != len(study.directions)):
        state = TrialState.FAIL
    number = trial if isinstance(trial, int) else trial.number
    storage = study._storage  # noqa: SLF001 -- as Trial does
    frozen = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study._study_id, number))  # noqa: SLF001
    if frozen.state.is_finished():
        return frozen.state
    for name, value in attributes.items():
        if value is not None:
            storage.set_trial_user_attr(frozen._trial_id, name, value)  # noqa: SLF001
    is_complete = state == TrialState.COMPLETE
    told = study.tell(number, numbers if is_complete else None, state=state, skip_if_finished=True)
    return told.state


def release(study: Study, trial: Trial) -> None:
    """Give a trial back that was interrupted: whoever claims next gets it, with its number, values and run folder."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        # Optuna itself has no such step from running; its databases allow it.
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # noqa: SLF001
    except UpdateFinishedTrialError:  # we were taken for dead
        return


def progress(study: Study) -> Progress:
    """Count a study's trials."""
    from optuna.trial import TrialState

    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)]
    count = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and REQUEUED_AS not in trial.user_attrs]
    without_value = sum(bool(trial.user_attrs.get(NO_VALUE)) for trial in failed)
    finished = count[TrialState.COMPLETE] + count[TrialState.PRUNED] + without_value
    if is_grid(study):
        finished += len(failed) - without_value
    running, waiting = count[TrialState.RUNNING], count[TrialState.WAITING]
    return Progress(finished, running, waiting, len(failed) - without_value)


def is_grid(study: Study) -> bool:
    """Say whether all trials of a study are named in advance."""
    return bool(study.user_attrs.get(ABOUT, {}).get("engine") == GRID)


def may_finish(trial: FrozenTrial) -> bool:
    """Say whether a trial has finished or may do so: whether it takes one of the places in a study."""
    from optuna.trial import TrialState

    return trial.state != TrialState.FAIL and not trial.user_attrs.get(SURPLUS)


def is_exhausted(trials: Sequence[FrozenTrial], space: Space) -> bool:
    """Say whether all that a space holds has been tried."""
    total = num_combinations(space)
    if total is None or total > MAX_VALUES:
        return False
    tried = {
        tuple(one.to_internal_repr(trial.params[name]) for name, one in trial.distributions.items())
        for trial in trials
        if REQUEUED_AS not in trial.user_attrs and len(trial.params) == len(space)
    }
    return len(tried) >= total


def _take(study: Study, n_trials: int | None, space: Space, worker: Mapping[str, Any]) -> Trial | None:
    from optuna.trial import TrialState

    if not _is_wanted(study, study.get_trials(deepcopy=False), n_trials, space):
        return None
    trial = study.ask()
    trial.set_user_attr(WORKER, dict(worker))
    trial.set_user_attr(HEARTBEAT, time.time())
    trials = study.get_trials(deepcopy=False)
    # Where the database has no locks that we know, others may have come between.
    if n_trials is None or _rank(trials, trial.number) < n_trials:
        return trial
    mine = next(one for one in trials if one.number == trial.number)
    if mine.params or mine.system_attrs.get("fixed_params"):  # which was named, and may be wanted some day
        release(study, trial)
    else:
        trial.set_user_attr(SURPLUS, True)
        study.tell(trial, state=TrialState.FAIL)
    return None


def _is_wanted(study: Study, trials: Sequence[FrozenTrial], n_trials: int | None, space: Space) -> bool:
    from optuna.trial import TrialState

    waiting = next((trial.number for trial in trials if trial.state == TrialState.WAITING), None)
    if waiting is not None:  # the first of them is what Optuna gives out
        return n_trials is None or _rank(trials, waiting) < n_trials
    if is_grid(study) or is_exhausted(trials, space):
        return False
    return n_trials is None or sum(map(may_finish, trials)) < n_trials


def _rank(trials: Sequence[FrozenTrial], number: int) -> int:
    """Count the trials before one that take a place."""
    return sum(trial.number < number and may_finish(trial) for trial in trials)
