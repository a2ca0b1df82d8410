"""What a search shows of its trials, and what it knows of those that others run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.files import read_json, write_json
from dogbreed.run_files import HYDRA_OVERRIDES, RUN_JSON
from dogbreed.sweeps.distributions import values_of
from dogbreed.sweeps.heartbeat import ISSUE, REASON, REQUEUED_AS, SURPLUS
from dogbreed.sweeps.live import LiveTable, quiet_trials
from dogbreed.sweeps.outcome import Outcome
from dogbreed.sweeps.record import collect_trials
from dogbreed.sweeps.space import Space, Value, override_text
from dogbreed.sweeps.study import NO_VALUE

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from dogbreed.sweeps.search_plan import SearchPlan

# Says how many jobs it launches, one by one.
_TALKATIVE = "hydra._internal.core_plugins.basic_launcher"
IN_PROCESS = "basic"


class Screen:
    """Shows the trials of a search while they run.

    Args:
        plan: What is searched.
    """

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._table: LiveTable | None = None
        # States of trials that other processes run, as they were shown.
        self._followed: dict[int, str] = {}

    @contextmanager
    def shown(self, study: Study) -> Iterator[None]:
        """Show the table, with the trials that have ended before; keep trials' own lines from it."""
        names, modes = self._plan.study.objectives, self._plan.study.modes
        self._table = LiveTable(self._plan.n_trials or _num_named(study), names, modes)
        talkative = logging.getLogger(_TALKATIVE)
        level = talkative.level
        if self._plan.launcher != IN_PROCESS:  # others have their own ways of showing what they do
            self._table.is_redrawn = False
        try:
            earlier = [
                row for row in study_rows(study, self._plan.study.space) if row["state"] in ("completed", "pruned")
            ]
            if earlier:
                self._table.known(earlier)
                self._followed |= {row["number"]: row["state"] for row in earlier}
            talkative.setLevel(logging.WARNING)
            with quiet_trials():
                yield
        finally:
            talkative.setLevel(level)
            self._table.close()

    def began(self, number: int, values: Mapping[str, Value]) -> None:
        """Show a trial that begins."""
        if self._table:
            self._table.began(number, values)

    def follow(self, study: Study) -> None:
        """Show what has become of the trials of other processes since the last time."""
        for row in study_rows(study, self._plan.study.space):
            number, values = row["number"], row["params"]
            is_decided = len(values) == len(self._plan.study.space)
            if row["state"] == "running" and number not in self._followed and is_decided:
                self._followed[number] = row["state"]
                self.began(number, values)
            elif row["state"] != "running" and self._followed.get(number) != row["state"]:
                self._followed[number] = row["state"]
                results = row["values"] if row["state"] == "completed" else []
                self.ended(number, values, Outcome(row["state"], results, row["error"] or row["reason"]))

    def ended(self, number: int, values: Mapping[str, Value], outcome: Outcome) -> None:
        """Show a trial that has ended: what its run folder says, and its results as they were told."""
        names, folder = self._plan.study.objectives, self._plan.folder
        row: dict[str, Any] = {"number": number, "issues": [], "seconds": None, "error": None, "reason": None}
        rows = collect_trials(folder, names, list(values)) if folder.is_dir() else []
        row |= next((one for one in rows if one["number"] == number), {})
        row |= {"params": dict(values), "state": outcome.state}
        if outcome.state == "completed" or not row.get("values"):
            row["values"] = outcome.values or [None] * len(names)
        row["error" if outcome.state == "failed" else "reason"] = outcome.reason
        if self._table:
            self._table.ended(row)


def study_rows(study: Study, space: Space) -> list[dict[str, Any]]:
    """List the trials of a study as `dogbreed.sweeps.record.collect_trials` does, without their folders.

    Those that were asked for beyond the end, that wait, or that others stand for are left out.
    """
    trials = study.get_trials(deepcopy=False)
    return [_row(trial, space) for trial in trials if not _is_hidden(trial)]


def rows_elsewhere(study: Study, space: Space, folder: Path) -> list[dict[str, Any]]:
    """List the trials of a study that have no folder in a sweep's."""
    return [row for row in study_rows(study, space) if not (folder / str(row["number"]) / HYDRA_OVERRIDES).is_file()]


def note_dead(folder: Path, numbers: Sequence[int], study: Study) -> None:
    """Say in the run folders of trials whose workers have died that nobody runs them any more.

    Args:
        folder: Of the sweep; those elsewhere are not ours.
        numbers: Trials that `dogbreed.sweeps.heartbeat.fail_stale` has failed.
        study: Theirs.
    """
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)} if numbers else {}
    for number in numbers:
        file = folder / str(number) / RUN_JSON
        run = read_json(file)
        if run.get("state") == "running":
            again = trials[number].user_attrs.get(REQUEUED_AS)
            words = f"; its values run again as trial {again}" if again is not None else ""
            write_json(file, {**run, "state": "failed", "error": f"{trials[number].user_attrs.get(REASON)}{words}."})


def _is_hidden(trial: FrozenTrial) -> bool:
    from optuna.trial import TrialState

    return (
        trial.state == TrialState.WAITING
        or bool(trial.user_attrs.get(SURPLUS))
        or trial.user_attrs.get(REQUEUED_AS) is not None
    )


def _row(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    from optuna.trial import TrialState

    states = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}
    state = "completed" if trial.user_attrs.get(NO_VALUE) else states.get(trial.state, "failed")
    reason, issue = trial.user_attrs.get(REASON), trial.user_attrs.get(ISSUE)
    values = values_of(space, trial.params)
    return {
        "number": trial.number,
        "overrides": [override_text(key, value) for key, value in values.items()],
        "params": values,
        "values": list(trial.values) if trial.values else [None],
        "state": state,
        "reason": reason if state != "failed" else None,
        "error": reason if state == "failed" else None,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "run_folder": None,
        "issues": [issue] if issue else [],
    }


def _num_named(study: Study) -> int:
    return len(study.get_trials(deepcopy=False))
