"""What is printed of a tuning job: its ranking, and how to go on with the winner."""

from __future__ import annotations

from pathlib import Path

from dogbreed.errors import UserError
from dogbreed.sweeps.space import Value, value_text
from dogbreed.tables import format_table
from launch.job_tables import cost_of
from launch.protocols import JobState
from launch.record import LaunchRecord
from launch.tuning.trials import objective_of, ranked, trials_of


def ranking(state: JobState, record: LaunchRecord | None) -> str:
    """Make a table of a tuning job's jobs, the best first.

    Args:
        state: Of the tuning job.
        record: Of its folder, which knows what it can cost at most.
    """
    metric, mode = objective_of(state)
    trials = ranked(trials_of(state), mode)
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    rows = []
    for trial in trials:
        cells = [_cell(trial.params[key]) if key in trial.params else None for key in keys]
        what = trial.status + (f": {trial.reason}" if trial.reason else "")
        rows.append(
            [trial.number, trial.value, trial.seconds, cost_of(state, record, trial.seconds), *cells, trial.job, what]
        )
    if not rows:
        return f"{state.name} has begun no job yet."
    return format_table(["trial", metric, "seconds", "USD ≤", *keys, "job", "status"], rows)


def winner_words(state: JobState, folder: Path | None) -> str:
    """Say which job is the best, and how to train it properly.

    Args:
        state: Of the tuning job.
        folder: Its folder; None where there is none.

    Raises:
        UserError: none of its jobs has reported a value.
    """
    metric, mode = objective_of(state)
    trials = ranked(trials_of(state), mode)
    best = next((trial for trial in trials if trial.value is not None), None)
    if best is None:
        msg = f"None of the {len(trials)} jobs of {state.name} has reported {metric}; why is in the table above."
        raise UserError(msg)
    lines = [
        f"best    #{best.number} {metric}={best.value:.4g}  {best.words}",
        f"winner  python -m launch.train from_tuning={state.name} launch=MACHINE",
    ]
    if folder:
        lines.append(f"        python -m dogbreed.train from_sweep={folder}")
    return "\n".join(lines)


def _cell(value: Value) -> object:
    return value if isinstance(value, float) else value_text(value)
