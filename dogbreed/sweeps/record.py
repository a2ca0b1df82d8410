"""What a sweep has found: read from its run folders, kept in ``sweep.json``.

Reading the folders instead of collecting results in memory makes the record
independent of who ran the trials: this process, others, or machines far away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dogbreed.files import read_json, write_json
from dogbreed.run_files import DIAGNOSIS_JSON, HYDRA_OVERRIDES, METRICS_JSON, RUN_JSON, SWEEP_JSON
from dogbreed.tables import format_table


def collect_trials(sweep_dir: Path, objectives: Sequence[str]) -> list[dict[str, Any]]:
    """Read the trials of a sweep from its numbered run folders.

    Args:
        sweep_dir: Folder of the sweep.
        objectives: Metrics that are its values.

    Returns:
        A dict a trial, in order of number: ``number``, ``overrides``, ``values``
        (null where there is none), ``state``, ``error``, ``seconds``, ``run_folder``,
        ``issues`` (rules that found something).
    """
    trials = []
    for folder in sweep_dir.iterdir():
        overrides = folder / HYDRA_OVERRIDES
        if folder.name.isdigit() and overrides.is_file():
            state = read_json(folder / RUN_JSON)
            metrics = read_json(folder / METRICS_JSON)
            trials.append(
                {
                    "number": int(folder.name),
                    "overrides": yaml.safe_load(overrides.read_text(encoding="utf-8")) or [],
                    "values": [metrics.get(name) for name in objectives],
                    "state": state.get("state", "failed"),
                    "error": state.get("error"),
                    "seconds": state.get("seconds"),
                    "run_folder": folder.name,
                    "issues": _issues(folder / DIAGNOSIS_JSON),
                }
            )
    return sorted(trials, key=lambda trial: int(trial["number"]))


def _issues(file: Path) -> list[str]:
    try:
        return [row["name"] for row in json.loads(file.read_text(encoding="utf-8")) if row["verdict"] == "issue"]
    except (OSError, ValueError, TypeError, KeyError):  # a trial without rules, or one that was killed
        return []


def rank_trials(trials: Sequence[Mapping[str, Any]], mode: str) -> list[Mapping[str, Any]]:
    """Sort trials by their first value, the best first and those without a value last.

    Args:
        trials: As `collect_trials` returns them.
        mode: ``max`` or ``min``.
    """
    sign = -1.0 if mode == "max" else 1.0

    def key(trial: Mapping[str, Any]) -> tuple[bool, float, int]:
        value = _first_value(trial)
        return value is None, sign * (value or 0.0), trial["number"]

    return sorted(trials, key=key)


def write_sweep(
    sweep_dir: Path, *, engine: str, search_space: Sequence[str], objectives: Sequence[str], mode: str
) -> dict[str, Any]:
    """Write ``sweep.json`` from what is in the run folders, whole or not at all.

    Args:
        sweep_dir: Folder of the sweep.
        engine: Name of the sweeper.
        search_space: The overrides that span it.
        objectives: Metrics that are its values.
        mode: ``max`` or ``min``.

    Returns:
        What was written.
    """
    trials = collect_trials(sweep_dir, objectives)
    ranked = rank_trials(trials, mode)
    best = ranked[0] if ranked and _first_value(ranked[0]) is not None else None
    sweep = {
        "engine": engine,
        "search_space": list(search_space),
        "objective": list(objectives),
        "objective_mode": mode,
        "trials": trials,
        "best": best["number"] if best else None,
    }
    write_json(sweep_dir / SWEEP_JSON, sweep)
    return sweep


def sweep_table(sweep: Mapping[str, Any]) -> str:
    """Format the trials as one table, the best first; a failed trial is a row with its error."""
    ranked = rank_trials(sweep["trials"], sweep["objective_mode"])
    # Overrides that all trials share tell nothing apart.
    common = set.intersection(*(set(trial["overrides"]) for trial in ranked)) if len(ranked) > 1 else set()
    rows = []
    for trial in ranked:
        own = " ".join(override for override in trial["overrides"] if override not in common)
        note = (
            trial["state"]
            if trial["state"] == "completed"
            else f"{trial['state']}: {trial['error'] or ''}".rstrip(": ")
        )
        if trial["issues"]:
            note += f"; rules: {', '.join(trial['issues'])}"
        rows.append([trial["number"], own or "–", *trial["values"], trial["seconds"], note])
    return format_table(["trial", "overrides", *sweep["objective"], "seconds", "state"], rows)


def _first_value(trial: Mapping[str, Any]) -> float | None:
    value = trial["values"][0] if trial["values"] else None
    return None if value is None or math.isnan(value) else float(value)
