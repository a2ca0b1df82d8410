"""The search: claim trials, have Hydra's launcher run them, settle them, until the study has as many as wanted."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from dogbreed.errors import UserError, sentence_of
from dogbreed.files import read_json
from dogbreed.run_files import RUN_JSON
from dogbreed.sweeps.distributions import values_of
from dogbreed.sweeps.engines import GRID
from dogbreed.sweeps.opening import open_study, patiently
from dogbreed.sweeps.search_folder import holding_folder
from dogbreed.sweeps.search_plan import SearchPlan, describe, plan_search
from dogbreed.sweeps.space import override_text
from dogbreed.sweeps.study import NO_VALUE, REASON, Progress, claim, is_grid, progress, release, settle, this_worker

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher
    from hydra.types import HydraContext
    from omegaconf import DictConfig
    from optuna import Study
    from optuna.trial import Trial

log = logging.getLogger(__name__)

# So many failures at least before a search ends because of them.
MIN_FAILURES = 4
# Between two looks at what other workers do.
LOOK_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a trial has ended.

    Args:
        state: ``completed``, ``pruned`` or ``failed``.
        values: Of the objectives.
        reason: Why it was ended or failed, in a sentence.
        run_folder: Where its files are.
        has_no_value: It was run, and its task returns no number.
    """

    state: str
    values: list[float | None]
    reason: str | None
    run_folder: str
    has_no_value: bool = False


class SearchEndedError(UserError):
    """Too many trials have failed."""


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
    with holding_folder(plan, config):
        study = open_study(plan.study)
        OmegaConf.save(config, plan.folder / "multirun.yaml")
        log.info("%s", describe(plan))
        run = Search(plan, study, launcher)
        return run.run()


class Search:
    """One process's part in a search.

    Args:
        plan: What is searched.
        study: Where it is kept.
        launcher: Runs trials.
    """

    def __init__(self, plan: SearchPlan, study: Study, launcher: Launcher) -> None:
        self._plan = plan
        self._study = study
        self._launcher = launcher
        self._worker = this_worker()
        self._began = time.monotonic()

    def run(self) -> list[Sequence[JobReturn]]:
        """Run batches of trials until there are enough.

        Returns:
            The returns of each batch.
        """
        batches: list[Sequence[JobReturn]] = []
        is_waiting = False
        while not self._is_late():
            trials = self._claim_batch()
            if trials:
                batches.append(self._run_batch(trials))
                self._check_failures()
                continue
            rest = patiently(partial(progress, self._study))
            if not rest.running:
                break
            if not is_waiting:
                log.info(
                    "sweep   %d trials of other workers are running; if one fails, it is made up for", rest.running
                )
                is_waiting = True
            time.sleep(LOOK_S)
        return batches

    def _is_late(self) -> bool:
        limit_s = self._plan.settings.timeout_s
        is_late = limit_s is not None and time.monotonic() - self._began >= limit_s
        if is_late:
            log.info("sweep   no more trials: hydra.sweeper.timeout_s=%g is over", limit_s)
        return is_late

    def _claim_batch(self) -> list[Trial]:
        trials: list[Trial] = []
        while len(trials) < self._plan.settings.batch_size:
            trial = patiently(partial(claim, self._study, self._plan.n_trials, self._plan.study.space, self._worker))
            if trial is None:
                break
            trials.append(trial)
        return trials

    def _run_batch(self, trials: Sequence[Trial]) -> Sequence[JobReturn]:
        first = trials[0].number
        are_consecutive = [trial.number for trial in trials] == list(range(first, first + len(trials)))
        overrides = [self._overrides(trial, is_numbered=not are_consecutive) for trial in trials]
        try:
            returns = self._launcher.launch(overrides, initial_job_idx=first)
        except BaseException:
            for trial in trials:
                release(self._study, trial)
            raise
        for trial, one in zip(trials, returns, strict=True):
            self._settle(trial, outcome_of(one, len(self._plan.study.objectives)))
        return returns

    def _overrides(self, trial: Trial, *, is_numbered: bool) -> list[str]:
        overrides = self._plan.overrides(values_of(self._plan.study.space, trial.params), trial.number)
        # Hydra numbers the jobs of a batch one after the other; a study that is shared may have given others away.
        return [*overrides, f"hydra.sweep.subdir={trial.number}"] if is_numbered else overrides

    def _settle(self, trial: Trial, outcome: Outcome) -> None:
        details: dict[str, Any] = {REASON: outcome.reason, "run_folder": outcome.run_folder}
        if outcome.has_no_value and is_grid(self._study):
            details |= {NO_VALUE: True, REASON: None}
        patiently(partial(settle, self._study, trial, outcome.state, outcome.values, **details))

    def _check_failures(self) -> None:
        """End a search most of whose trials fail.

        Raises:
            SearchEndedError: with the last failure's sentence.
        """
        now, limit = patiently(partial(progress, self._study)), self._plan.settings.max_failed
        if self._plan.study.engine == GRID or now.failed < MIN_FAILURES:
            return
        if now.failed / (now.failed + now.finished) >= limit:
            raise SearchEndedError(_too_many(now, limit))


def outcome_of(ended: JobReturn, num_objectives: int) -> Outcome:
    """Read how a trial has ended from what Hydra returns and from its run folder.

    Args:
        ended: What the launcher returns of it.
        num_objectives: How many values it should have.
    """
    folder = _run_folder(ended)
    run = read_json(folder / RUN_JSON) if folder else {}
    place = str(folder) if folder else ""
    if ended.status != JobStatus.COMPLETED:
        error = ended._return_value  # noqa: SLF001 -- the public one raises it
        return Outcome("failed", [], sentence_of(error) if isinstance(error, BaseException) else str(error), place)
    if run.get("state") in ("pruned", "failed"):
        return Outcome(run["state"], [], run.get("reason") or run.get("error"), place)
    returned = ended.return_value
    listed = list(returned) if isinstance(returned, list | tuple) else [returned]
    values = [float(value) if isinstance(value, int | float) else None for value in listed]
    if len(values) != num_objectives or any(value is None or math.isnan(value) for value in values):
        reason = f"The trial returned {returned!r}, not {num_objectives if num_objectives > 1 else 'a'} number."
        has_no_value = all(value is None for value in values)
        return Outcome("failed", values, reason, place, has_no_value)
    return Outcome("completed", values, None, place)


def _run_folder(ended: JobReturn) -> Path | None:
    place = OmegaConf.select(ended.hydra_cfg, "hydra.runtime.output_dir") if ended.hydra_cfg else None
    return Path(place) if place else None


def _too_many(now: Progress, limit: float) -> str:
    return (
        f"{now.failed} of {now.failed + now.finished} trials have failed, each for the reason above: see to it and start "
        f"the same command again, or let more fail, hydra.sweeper.max_failed={min(1.0, limit + 0.3):g}."
    )
