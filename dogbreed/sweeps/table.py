"""What a sweep ends with: its table, its best trial as a command to copy, and what has mattered."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dogbreed.errors import shorten
from dogbreed.sweeps.ranking import rank_trials
from dogbreed.sweeps.space import override_text
from dogbreed.tables import format_number, format_table

# Rows that a terminal shows without hiding the best ones; the page has them all.
MAX_ROWS = 40
MAX_NOTE = 100


def sweep_table(sweep: Mapping[str, Any], limit: int = MAX_ROWS) -> str:
    """Format the trials as one table, the best first.

    A pruned trial says why it was ended, a failed one is a row with its error. For several objectives a star marks
    those that no other trial beats.

    Args:
        sweep: As `dogbreed.sweeps.record.make_record` makes it.
        limit: The most rows; the others are counted.
    """
    ranked = rank_trials(sweep["trials"], sweep["objective_mode"])
    columns, cells = _setting_columns(sweep, ranked)
    pareto = set(sweep.get("pareto") or ())
    rows = []
    for trial, own in zip(ranked[:limit], cells, strict=False):
        star = [("*" if trial["number"] in pareto else "")] if pareto else []
        rows.append([trial["number"], *star, *trial["values"], *own, _seconds(trial), note_of(trial)])
    head = ["trial", *([""] if pareto else []), *sweep["objective"], *columns, "seconds", "state"]
    table = format_table(head, rows)
    if len(ranked) > limit:
        table += f"\n… and {len(ranked) - limit} more trials"
    return table


def sweep_summary(sweep: Mapping[str, Any], sweep_dir: Path, page: Path | None = None) -> str:
    """Put in words what a sweep has found: the table, the best trial, how to train it, what mattered, where it all is.

    Args:
        sweep: As for `sweep_table`.
        sweep_dir: Its folder.
        page: ``sweep.html``, if it was written.
    """
    lines = [sweep_table(sweep), "", *_best_lines(sweep, sweep_dir)]
    if sweep.get("importance"):
        shares = [f"{key} {100 * share:.0f} %" for key, share in sweep["importance"].items()]
        lines.append(f"matters {shorten(shares, 6)}")
    lines.append(f"sweep   {sweep_dir}")
    if page:
        lines.append(f"report  {page}")
    return "\n".join(lines)


def note_of(trial: Mapping[str, Any]) -> str:
    """Say how a trial has ended, and why if not well."""
    why = trial.get("reason") or trial.get("error") or ""
    note = trial["state"] if trial["state"] == "completed" else f"{trial['state']}: {_one_line(why)}".rstrip(": ")
    if trial.get("issues"):
        note += f"; rules: {', '.join(trial['issues'])}"
    return note


def settings_of(trial: Mapping[str, Any]) -> str:
    """Write the values that a trial was given as overrides; all of its overrides where no search space is known."""
    params = trial.get("params") or {}
    return " ".join(override_text(key, value) for key, value in params.items()) or " ".join(trial["overrides"])


def _best_lines(sweep: Mapping[str, Any], sweep_dir: Path) -> list[str]:
    best = next((trial for trial in sweep["trials"] if trial["number"] == sweep["best"]), None)
    if best is None:
        return ["best    no trial has finished"]
    values = [f"{name} {format_number(value)}" for name, value in zip(sweep["objective"], best["values"], strict=True)]
    lines = [f"best    trial {best['number']}, {', '.join(values)}: {settings_of(best)}"]
    if sweep.get("pareto"):
        lines.append(f"pareto  {shorten(sweep['pareto'], 20)}: no other trial is better in every objective")
    command = f"python -m dogbreed.train from_sweep={shlex.quote(str(sweep_dir))}"
    return [*lines, f"train   {command}"]


def _setting_columns(
    sweep: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[list[object]]]:
    """Return a column a parameter; one of overrides, without those that all share, where no search space is known."""
    keys = [key for key in sweep.get("params") or {} if any(key in trial.get("params", {}) for trial in ranked)]
    if keys:
        return keys, [[_cell(trial.get("params", {}).get(key)) for key in keys] for trial in ranked]
    common = set.intersection(*(set(trial["overrides"]) for trial in ranked)) if len(ranked) > 1 else set()
    own = [" ".join(text for text in trial["overrides"] if text not in common) for trial in ranked]
    return ["overrides"], [[text or "–"] for text in own]


def _cell(value: object) -> object:
    if value is None or isinstance(value, bool):
        return "–" if value is None else str(value).lower()
    return value


def _seconds(trial: Mapping[str, Any]) -> float | None:
    seconds = trial.get("seconds")
    return round(seconds, 1) if isinstance(seconds, (int, float)) else None


def _one_line(text: str) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= MAX_NOTE else f"{flat[: MAX_NOTE - 1]}…"
