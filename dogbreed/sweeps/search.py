"""The search: claim trials, have Hydra's launcher run them, settle them, until the study has as many as wanted."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dogbreed.errors import UserError
from dogbreed.files import read_json
from dogbreed.run_files import SWEEP_JSON
from dogbreed.sweeps.callback import note_progress
from dogbreed.sweeps.database import patiently
from dogbreed.sweeps.distributions import values_of
from dogbreed.sweeps.engines import GRID
from dogbreed.sweeps.heartbeat import ISSUE, REASON, RUN_FOLDER, Heartbeat, fail_stale, this_worker
from dogbreed.sweeps.opening import open_study
from dogbreed.sweeps.outcome import Outcome, outcome_of
from dogbreed.sweeps.screen import IN_PROCESS, Screen, note_dead, rows_elsewhere
from dogbreed.sweeps.search_folder import holding_folder, is_worker
from dogbreed.sweeps.search_plan import SearchPlan, describe, plan_search
from dogbreed.sweeps.study import NO_VALUE, claim, is_grid, progress, release, settle
from dogbreed.sweeps.table import sweep_summary
from dogbreed.sweeps.workers import run_workers

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher
    from hydra.types import HydraContext
    from omegaconf import DictConfig
    from optuna import Study
    from optuna.trial import Trial

    from dogbreed.sweeps.space import Value

log = logging.getLogger(__name__)

# So many failures at least before a search ends because of them.
MIN_FAILURES = 4
# Between two looks at what other workers do.
LOOK_S = 1.0


def search(
    settings: Mapping[str, Any], config: DictConfig, context: HydraContext, launcher: Launcher
) -> list[Sequence[JobReturn]]:
    """Search as ``hydra.sweeper`` says.

    Args:
        settings: The sweeper's, as Hydra gives them.
        config: Of the sweep.
        context: Hydra's.
        launcher: Runs trials.

    Returns:
        The returns of each batch of trials that this process has run.

    Raises:
        UserError: the search cannot begin, or too many trials have failed.
        KeyboardInterrupt: Ctrl-C; its words say how to go on.
    """
    plan = plan_search(settings, config, context.config_loader)
    screen = Screen(plan)
    if is_worker():
        return Search(plan, open_study(plan.study), launcher, screen).run()
    with holding_folder(plan, config):
        study = open_study(plan.study)
        OmegaConf.save(config, plan.folder / "multirun.yaml")
        log.info("%s", describe(plan))
        try:
            with screen.shown(study):
                if plan.settings.n_jobs > 1 and plan.launcher == IN_PROCESS:
                    return _search_with_workers(plan, study, config, screen)
                return Search(plan, study, launcher, screen).run()
        except (KeyboardInterrupt, UserError):
            _show_so_far(plan)  # Hydra's callbacks hear of an end only if it is a good one
            raise
        finally:
            if plan.settings.storage:
                note_progress(config, rows_elsewhere(study, plan.study.space, plan.folder))


def _show_so_far(plan: SearchPlan) -> None:
    sweep = read_json(plan.folder / SWEEP_JSON)
    if sweep.get("trials"):
        log.info("\n%s\n", sweep_summary(sweep, plan.folder))


def _search_with_workers(
    plan: SearchPlan, study: Study, config: DictConfig, screen: Screen
) -> list[Sequence[JobReturn]]:
    """Have several processes search; their returns stay with them."""

    def look() -> None:
        screen.follow(study)
        note_progress(config)

    run_workers(config, plan.settings.n_jobs, look)
    return []


class Search:
    """One process's part in a search.

    Args:
        plan: What is searched.
        study: Where it is kept.
        launcher: Runs trials.
        screen: Shows them.
    """

    def __init__(self, plan: SearchPlan, study: Study, launcher: Launcher, screen: Screen) -> None:
        self._plan = plan
        self._study = study
        self._launcher = launcher
        self._screen = screen
        self._heartbeat = Heartbeat(study, plan.settings.heartbeat_s)
        self._worker = this_worker()
        self._began = time.monotonic()

    def run(self) -> list[Sequence[JobReturn]]:
        """Run batches of trials until there are enough.

        Returns:
            The returns of each batch.

        Raises:
            UserError: too many trials have failed, or the storage is away for long.
        """
        batches: list[Sequence[JobReturn]] = []
        is_waiting = False
        with self._heartbeat:
            while not self._is_late():
                trials = self._claim_batch()
                if trials:
                    batches.append(self._run_batch(trials))
                    self._check_failures()
                elif running := patiently(partial(progress, self._study)).running:
                    if not is_waiting:
                        log.info("search  waits for %d trials that others run: one that fails is made up for", running)
                    is_waiting = True
                    time.sleep(LOOK_S)
                else:
                    break
        return batches

    def _is_late(self) -> bool:
        limit_s = self._plan.settings.timeout_s
        is_late = limit_s is not None and time.monotonic() - self._began >= limit_s
        if is_late:
            log.info("search  begins no more trials: hydra.sweeper.timeout_s=%g is over", limit_s)
        return is_late

    def _claim_batch(self) -> list[Trial]:
        dead = patiently(partial(fail_stale, self._study, self._plan.settings.heartbeat_s))
        note_dead(self._plan.folder, dead, self._study)
        trials: list[Trial] = []
        while len(trials) < self._plan.settings.batch_size:
            trial = patiently(partial(claim, self._study, self._plan.n_trials, self._plan.study.space, self._worker))
            if trial is None:
                break
            trials.append(trial)
        return trials

    def _run_batch(self, trials: Sequence[Trial]) -> Sequence[JobReturn]:
        first = trials[0].number
        is_consecutive = [trial.number for trial in trials] == list(range(first, first + len(trials)))
        overrides = [self._overrides(trial, is_numbered=not is_consecutive) for trial in trials]
        for trial in trials:
            self._heartbeat.add(trial.number)
            self._screen.began(trial.number, self._values(trial))
        try:
            returns = self._launcher.launch(overrides, initial_job_idx=first)
        except BaseException:
            for trial in trials:
                release(self._study, trial)
            raise
        for trial, one in zip(trials, returns, strict=True):
            self._settle(trial, outcome_of(one, len(self._plan.study.objectives)))
        return returns

    def _values(self, trial: Trial) -> dict[str, Value]:
        return values_of(self._plan.study.space, trial.params)

    def _overrides(self, trial: Trial, *, is_numbered: bool) -> list[str]:
        overrides = self._plan.overrides(self._values(trial), trial.number)
        # Hydra numbers the jobs of a batch one after the other; a study that is shared may have given others away.
        return [*overrides, f"hydra.sweep.subdir={trial.number}"] if is_numbered else overrides

    def _settle(self, trial: Trial, outcome: Outcome) -> None:
        details: dict[str, Any] = {REASON: outcome.reason, ISSUE: outcome.issue, RUN_FOLDER: outcome.run_folder}
        if outcome.has_no_value and is_grid(self._study):
            details |= {NO_VALUE: True, REASON: None}
        patiently(partial(settle, self._study, trial, outcome.state, outcome.values, **details))
        self._heartbeat.remove(trial.number)
        self._screen.ended(trial.number, self._values(trial), outcome)

    def _check_failures(self) -> None:
        """End a search most of whose trials fail; a grid has its end, and goes to it.

        Raises:
            UserError: with how many they are.
        """
        now, limit = patiently(partial(progress, self._study)), self._plan.settings.max_failed
        total = now.failed + now.finished
        if self._plan.study.engine != GRID and now.failed >= MIN_FAILURES and now.failed / total >= limit:
            msg = (
                f"{now.failed} of {total} trials have failed, each for the reason above: see to it, or let more of "
                "them fail (hydra.sweeper.max_failed=1); the same command goes on from here."
            )
            raise UserError(msg)
