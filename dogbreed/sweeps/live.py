"""What one sees while a search runs: a table that is redrawn on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from dogbreed.sweeps.ranking import best_of, is_number, rank_trials
from dogbreed.sweeps.space import override_text
from dogbreed.sweeps.table import note_of
from dogbreed.tables import format_number, format_table

NUM_BEST, NUM_LAST = 5, 3
_UP_AND_CLEAR = "\x1b[{}A\x1b[J"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"

# Hydra's own says at length what the table says in a line.
_LAUNCHER_LOG = logging.getLogger("hydra._internal.core_plugins.basic_launcher")

_is_quiet = False
_table: LiveTable | None = None


class LiveTable:
    """Tell how a search goes.

    On a terminal: the best trials, those that run, those that have ended last, how many are done and how long the
    others will take, all of it redrawn in place; what others print meanwhile goes above. Elsewhere: a line a trial.

    Args:
        total: Trials that there will be; None if nobody knows.
        objectives: Metrics that are the search's values.
        modes: ``max`` or ``min`` for each.
        stream: Where it is shown; standard output by default.
    """

    def __init__(
        self, total: int | None, objectives: Sequence[str], modes: Sequence[str], stream: TextIO | None = None
    ) -> None:
        global _table  # noqa: PLW0603 -- there is one screen
        self._total, self._objectives, self._modes = total, list(objectives), list(modes)
        self._stream = stream or sys.stdout
        self.is_redrawn = _can_be_redrawn(self._stream)
        self._running: dict[int, Mapping[str, Any]] = {}
        self._ended: list[Mapping[str, Any]] = []
        self._earlier = 0
        self._started = time.monotonic()
        self._num_lines = 0
        _table = self

    def began(self, number: int, params: Mapping[str, Any]) -> None:
        """Show a trial that begins.

        Args:
            number: The trial's.
            params: Its values by key.
        """
        self._running[number] = params
        self._draw()

    def known(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Take in trials that had ended before this process began; they count, and say nothing of how long it takes."""
        self._ended += trials
        self._earlier += len(trials)
        self._draw()

    def ended(self, row: Mapping[str, Any], best: Mapping[str, Any] | None = None) -> None:
        """Show a trial that has ended.

        Args:
            row: As `dogbreed.sweeps.record.collect_trials` returns it.
            best: The best one of all; None: the best of those told here.
        """
        self._running.pop(row["number"], None)
        self._ended.append(row)
        if self.is_redrawn:
            self._draw()
        else:
            self._stream.write(f"{self._line(row, best)}\n")
            self._stream.flush()

    def say(self, text: str) -> None:
        """Print lines above the table."""
        self._wipe()
        self._stream.write(text if text.endswith("\n") else f"{text}\n")
        self._draw()

    def close(self) -> None:
        """Take the table from the screen: what comes next has the last word."""
        global _table  # noqa: PLW0603
        self._wipe()
        self._stream.flush()
        if _table is self:
            _table = None

    def _line(self, row: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
        best = best or best_of(self._ended, self._modes[0])
        place = f"{len(self._ended)}/{self._total}" if self._total else str(len(self._ended))
        values = ", ".join(
            f"{name} {format_number(value)}" for name, value in zip(self._objectives, row["values"], strict=False)
        )
        seconds = row.get("seconds")
        parts = [f"trial {row['number']} ({place})", values or "–", _settings(row.get("params") or {})]
        parts += [f"{seconds:.1f} s"] if is_number(seconds) else []
        parts += [] if row["state"] == "completed" and not row.get("issues") else [note_of(row)]
        if best:
            parts.append(f"best {format_number(best['values'][0])} (trial {best['number']})")
        return "  ".join(part for part in parts if part)

    def _draw(self) -> None:
        if not self.is_redrawn:
            return
        self._wipe()
        size = shutil.get_terminal_size((100, 24))
        lines = [_cut(line, size.columns) for line in self._screen()][: size.lines - 1]
        lines = [lines[0], f"{_BOLD}{lines[1]}{_PLAIN}", *lines[2:]]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
        self._num_lines = len(lines)

    def _screen(self) -> list[str]:
        ranked = [row for row in rank_trials(self._ended, self._modes[0]) if row["state"] == "completed"]
        best, last = ranked[:NUM_BEST], self._ended[self._earlier :][-NUM_LAST:]
        rows = [self._cells(row, "best" if place == 0 else str(place + 1)) for place, row in enumerate(best)]
        rows += [self._cells(row, "last") for row in last if row not in best]
        rows += [
            [number, *(None for _ in self._objectives), None, "running", _settings(_short_keys(params)) or "–"]
            for number, params in self._running.items()
        ]
        # What is longest comes last: a narrow terminal cuts it.
        head = ["trial", *self._objectives, "seconds", "", "values"]
        return ["", self._progress(), *(format_table(head, rows).splitlines() if rows else [])]

    def _cells(self, row: Mapping[str, Any], place: str) -> list[object]:
        seconds = row.get("seconds")
        note = place if row["state"] == "completed" else row["state"]
        why = "" if row["state"] == "completed" else f"  {note_of(row)}"
        numbers = [value if is_number(value) else None for value in row["values"]]
        values = _settings(_short_keys(row.get("params") or {})) or "–"
        return [row["number"], *numbers, round(seconds, 1) if is_number(seconds) else None, note, f"{values}{why}"]

    def _progress(self) -> str:
        counts = {state: sum(row["state"] == state for row in self._ended) for state in ("pruned", "failed")}
        done = len(self._ended)
        parts = [f"{done} of {self._total} trials" if self._total else f"{done} trials"]
        parts += [f"{number} {state}" for state, number in counts.items() if number]
        here, elapsed = done - self._earlier, time.monotonic() - self._started
        if here and self._total and self._total > done:
            parts.append(f"about {_time(elapsed / here * (self._total - done))} left")
        return f"{_bar(done, self._total)}{', '.join(parts)}"

    def _wipe(self) -> None:
        if self._num_lines:
            self._stream.write(_UP_AND_CLEAR.format(self._num_lines))
            self._num_lines = 0


@contextmanager
def quiet_trials() -> Iterator[None]:
    """Keep the lines of trials that run in this process from the screen; their ``train.log`` has them.

    Warnings and errors still show, above the live table where there is one. Progress bars do not.
    """
    global _is_quiet  # noqa: PLW0603 -- there is one screen
    before = _is_quiet, sys.stdout, sys.stderr
    level = _LAUNCHER_LOG.level
    _is_quiet = True
    _LAUNCHER_LOG.setLevel(logging.WARNING)
    table = _table if _table and _table.is_redrawn else None
    if table:
        sys.stdout = _Above(table)
        sys.stderr = _Above(table) if sys.stderr.isatty() else sys.stderr
    try:
        yield
    finally:
        _is_quiet, sys.stdout, sys.stderr = before
        _LAUNCHER_LOG.setLevel(level)
        for handler in logging.getLogger().handlers:  # Hydra has pointed them here meanwhile
            if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, _Above):
                handler.setStream(sys.stdout)


def hush_job() -> None:
    """Within `quiet_trials` let the console show warnings and errors only; Hydra has just set up the job's logging."""
    if not _is_quiet:
        return
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


def _can_be_redrawn(stream: TextIO) -> bool:
    """Say whether lines above can be written over: on a terminal; a notebook's cell only looks like one."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and "JPY_PARENT_PID" not in os.environ


class _Above(io.TextIOBase):
    """A stream whose whole lines are printed above a live table."""

    def __init__(self, table: LiveTable) -> None:
        self._table, self._rest = table, ""

    def write(self, text: str) -> int:
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._table.say(whole)
        return len(text)

    def isatty(self) -> bool:
        return False  # so that nobody draws a bar here

    def writable(self) -> bool:
        return True


def _settings(params: Mapping[str, Any]) -> str:
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in params.items()}
    return " ".join(override_text(key, value) for key, value in shown.items())


def _short_keys(params: Mapping[str, Any]) -> dict[str, Any]:
    """Name each parameter by the last part of its key, where that is enough to tell them apart."""
    names = [key.rpartition(".")[2] for key in params]
    return {name if names.count(name) == 1 else key: params[key] for name, key in zip(names, params, strict=True)}


def _bar(done: int, total: int | None, width: int = 20) -> str:
    if not total:
        return ""
    filled = min(width, width * done // total)
    return f"{'━' * filled}{'╌' * (width - filled)}  "


def _cut(line: str, width: int) -> str:
    return line if len(line) < width else f"{line[: max(width - 2, 1)]}…"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
