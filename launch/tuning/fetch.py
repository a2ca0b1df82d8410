"""Bring a tuning job home: its jobs' run folders, numbered as SageMaker numbers them, and ``sweep.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dogbreed.files import read_json, write_json, write_text
from dogbreed.run_files import HYDRA_OVERRIDES, METRICS_JSON, RUN_JSON
from dogbreed.sweeps.record import COMPLETED, INTERRUPTED, RUNNING, make_record, write_sweep
from dogbreed.sweeps.space import override_text, parameter_text
from launch.fetch import PARTS, Fetched, fetch
from launch.protocols import JobService, JobState, ObjectStore
from launch.record import FILE_NAME, LaunchRecord, now
from launch.tuning.ranges import from_ranges
from launch.tuning.trials import Trial, objective_of, ranked, trials_of
from launch.tuning.winner import typed_overrides

STOPPED_EARLY = "SageMaker stopped it early, since it was behind the others"
OUT_OF_TIME = "it reached its limit, launch.max_run_s, before its end"
STOPPED_WITH_ALL = "it was stopped with the tuning job"


@dataclass(frozen=True)
class Which:
    """What is fetched of the jobs of a tuning job.

    Args:
        is_everything: Models and checkpoints of all, not of the best one alone.
        is_again: What is here already, too.
    """

    is_everything: bool = False
    is_again: bool = False


def fetch_trials(
    store: ObjectStore,
    jobs: JobService,
    record: LaunchRecord,
    state: JobState,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    which: Which | None = None,
) -> Fetched:
    """Bring home what the jobs of a tuning job have written, and write ``sweep.json``.

    Of all of them the run folder comes, with metrics, curves and report; of the best one models and checkpoints, too. A
    call that was broken off goes on where it was.

    Args:
        store: The bucket of their output.
        jobs: Tells of training jobs.
        record: What is known of the tuning job.
        state: What has become of it.
        folder: Its folder; made if it is not there.
        say: Told what is being done.
        which: What of them; None for what is not here yet, and models and checkpoints of the best one alone.

    Raises:
        UserError: as `launch.fetch.fetch`.
    """
    which = which or Which()
    trials = trials_of(state)
    metric, mode = objective_of(state)
    best = next((trial.job for trial in ranked(trials, mode) if trial.value is not None), None)
    num_files = num_bytes = 0
    found: list[str] = []
    for trial in trials:
        parts = PARTS if which.is_everything or trial.job == best else ("run",)
        run_dir = folder / str(trial.number)
        if not which.is_again and _is_here(run_dir, parts):
            continue
        fetched = _fetch_trial(store, jobs, record, trial, run_dir, parts, say)
        num_files, num_bytes = num_files + fetched.num_files, num_bytes + fetched.num_bytes
        found += [part for part in fetched.parts if part not in found]
        _finish(state, trial, metric, typed_overrides(record, state), run_dir)
    write_record(record, state, folder)
    return Fetched(num_files, num_bytes, tuple(part for part in PARTS if part in found))


def write_record(record: LaunchRecord, state: JobState, folder: Path) -> dict[str, Any]:
    """Write ``sweep.json`` of a tuning job from the run folders that are here and from what AWS says of the others.

    Args:
        record: What is known of the tuning job.
        state: What has become of it.
        folder: Its folder.

    Returns:
        What was written.
    """
    return write_sweep(folder, **_fields(state), trials_elsewhere=rows_of(record, state), with_importance=state.is_over)


def search_record(record: LaunchRecord, state: JobState) -> dict[str, Any]:
    """Return what ``sweep.json`` would hold, from AWS alone.

    Args:
        record: What is known of the tuning job.
        state: What has become of it.
    """
    return make_record(rows_of(record, state), **_fields(state))


def rows_of(record: LaunchRecord, state: JobState) -> list[dict[str, Any]]:
    """Return trials as rows of ``sweep.json``, as far as AWS knows them.

    Args:
        record: What is known of the tuning job.
        state: What has become of it.
    """
    typed = typed_overrides(record, state)
    rows = []
    for trial in trials_of(state):
        kind, reason = _state_of(state, trial)
        rows.append(
            {
                "number": trial.number,
                "overrides": trial_overrides(typed, trial),
                "params": dict(trial.params),
                "values": [trial.value],
                "state": kind,
                "reason": reason,
                "error": trial.reason or None,
                "seconds": trial.seconds,
                "run_folder": None,
                "issues": [],
            }
        )
    return rows


def trial_overrides(typed: Sequence[str], trial: Trial) -> list[str]:
    """Return what a trial was run with, as one would type it.

    Args:
        typed: What all of them were run with.
        trial: The trial.
    """
    return [*typed, *(override_text(key, value) for key, value in trial.params.items())]


def _fields(state: JobState) -> dict[str, Any]:
    metric, mode = objective_of(state)
    config = state.description["HyperParameterTuningJobConfig"]
    params = {key: parameter_text(parameter) for key, parameter in from_ranges(config["ParameterRanges"]).items()}
    whole = COMPLETED if state.status == "Completed" else INTERRUPTED
    return {
        "engine": str(config["Strategy"]).lower(),
        "search_space": [f"{key}={text}" for key, text in params.items()],
        "objectives": [metric],
        "modes": [mode],
        "params": params,
        "state": whole if state.is_over else RUNNING,
        "search_hash": state.name,
    }


def _is_here(run_dir: Path, parts: Sequence[str]) -> bool:
    """Say whether all of a job that is over has been fetched."""
    known = read_json(run_dir / FILE_NAME)
    return bool(known.get("fetched")) and set(parts) <= set(known.get("parts") or ())


def _fetch_trial(
    store: ObjectStore,
    jobs: JobService,
    record: LaunchRecord,
    trial: Trial,
    run_dir: Path,
    parts: Sequence[str],
    say: Callable[[str], None],
) -> Fetched:
    """Fetch one run folder, and remember what of it."""
    job = jobs.describe(trial.job)
    say(f"#{trial.number} {trial.job}")
    run_dir.mkdir(parents=True, exist_ok=True)
    fetched = fetch(store, job.description, run_dir, say, parts=parts)
    own = LaunchRecord(
        trial.job,
        record.region,
        {"TrainingJobName": trial.job, "OutputDataConfig": job.description["OutputDataConfig"]},
        endpoint_url=record.endpoint_url,
        account=record.account,
        submitted=record.submitted,
        fetched=now() if job.is_over else None,
    ).seen(job)
    own.write(run_dir)
    write_json(run_dir / FILE_NAME, {**read_json(run_dir / FILE_NAME), "parts": list(parts)})
    return fetched


def _finish(state: JobState, trial: Trial, metric: str, typed: Sequence[str], run_dir: Path) -> None:
    """Say in a run folder what only the tuning job knows: how it was typed, how it ended, what it came to."""
    import yaml

    overrides = run_dir / HYDRA_OVERRIDES
    overrides.parent.mkdir(parents=True, exist_ok=True)
    write_text(overrides, yaml.safe_dump(trial_overrides(typed, trial), allow_unicode=True))
    metrics = read_json(run_dir / METRICS_JSON)
    if metric not in metrics and trial.value is not None:
        write_json(run_dir / METRICS_JSON, {**metrics, metric: trial.value})
    run = read_json(run_dir / RUN_JSON)
    kind, reason = _state_of(state, trial)
    if run.get("state") not in ("completed", "pruned", "failed"):
        more = {"state": kind, "reason": reason, "error": trial.reason or None, "seconds": trial.seconds}
        write_json(run_dir / RUN_JSON, {**run, **{key: value for key, value in more.items() if value is not None}})


def _state_of(state: JobState, trial: Trial) -> tuple[str, str | None]:
    """Return a trial's state, and why it ended before its time."""
    if trial.status == "Completed":
        return "completed", None
    if trial.status == "Failed":
        return "failed", None
    if trial.status != "Stopped":
        return "running", None
    config = state.description["HyperParameterTuningJobConfig"]
    stops_early = config.get("TrainingJobEarlyStoppingType") == "Auto" or config["Strategy"] == "Hyperband"
    limits = (state.description.get("TrainingJobDefinition") or {}).get("StoppingCondition") or {}
    if trial.seconds is not None and trial.seconds >= limits.get("MaxRuntimeInSeconds", float("inf")):
        return "interrupted", OUT_OF_TIME
    if stops_early and state.status not in ("Stopped", "Stopping"):
        return "pruned", STOPPED_EARLY
    return "interrupted", STOPPED_WITH_ALL
