"""Files of a run folder, read so that a damaged one costs its own section and no more."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]
NO_NUMBER = float("nan")
# What is larger overflows when it is summed up or drawn, and was never measured.
HUGE = 1e100


class UnreadableError(Exception):
    """A file is there and cannot be read; says why in a clause."""


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file by column, as texts.

    Args:
        columns: Texts by column, all of the same length.
    """

    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def texts(self, name: str) -> list[str]:
        """Return a column; empty texts where the table does not have it."""
        return self.columns.get(name) or [""] * len(self)

    def numbers(self, name: str) -> Numbers:
        """Return a column as float64; NaN for what is no number and for a column that is not there."""
        return np.array([_number(text) for text in self.texts(name)], dtype=np.float64)

    def where(self, name: str, value: str) -> Table:
        """Return the rows in which a column has a value."""
        kept = [place for place, text in enumerate(self.texts(name)) if text == value]
        return Table({column: [texts[place] for place in kept] for column, texts in self.columns.items()})


class Reader:
    """Reads files of one folder and notes what could not be read.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.num_read = 0

    def table(self, name: str, numbers: Sequence[str] = (), texts: Sequence[str] = ()) -> Table | None:
        """Read a CSV file; None where there is none or it cannot be read.

        Rows that are cut short, or hold something else where a number must be, are left out and counted, but for the
        last one: a run that goes on, or was killed, may have written half of it.

        Args:
            name: Path within the folder.
            numbers: Columns that must be there and hold numbers or nothing.
            texts: Columns that must be there.
        """

        def parse(content: bytes) -> Table:
            if not content.strip():  # of no rows nobody knows the columns
                return Table({})
            table, num_bad = _parse_table(content.decode("utf-8", "surrogateescape"), numbers, texts)
            if num_bad:
                self.problems.append(f"{name}: {num_bad} rows cannot be read and are left out.")
            return table

        found = self._read(name, parse)
        return found if isinstance(found, Table) and found.columns else None

    def object(self, name: str) -> dict[str, Any]:
        """Read a JSON object; empty where there is none or it cannot be read."""
        found = self._read(name, lambda content: _expect(json.loads(content), dict, "it holds no JSON object"))
        return found if isinstance(found, dict) else {}

    def list(self, name: str) -> list[Any]:
        """Read a JSON list; empty where there is none or it cannot be read."""
        found = self._read(name, lambda content: _expect(json.loads(content), list, "it holds no JSON list"))
        return found if isinstance(found, list) else []

    def yaml(self, name: str) -> tuple[Any, str]:
        """Read a YAML file; return its value and its text, None and nothing where that is not possible."""
        found = self._read(name, lambda content: (_load_yaml(content), content.decode("utf-8", "replace")))
        return found if isinstance(found, tuple) else (None, "")

    def _read(self, name: str, parse: Any) -> Any:
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}.")
            return None
        try:
            found = parse(content)
        except (UnreadableError, ValueError, RecursionError, csv.Error) as error:
            self.problems.append(f"{name} cannot be read: {str(error).splitlines()[0] if str(error) else 'damaged'}.")
            return None
        self.num_read += 1
        return found


def _parse_table(text: str, numbers: Sequence[str], texts: Sequence[str]) -> tuple[Table, int]:
    rows = list(csv.reader(text.splitlines(keepends=True)))
    header, *body = rows or [[]]
    missing = [name for name in (*numbers, *texts) if name not in header]
    if missing:
        msg = f"it has no column {missing[0]}"
        raise UnreadableError(msg)
    places = [header.index(name) for name in numbers]
    good = [row for row in body if len(row) == len(header) and all(_is_number(row[place]) for place in places)]
    num_bad = len(body) - len(good)
    if body and (not good or body[-1] is not good[-1]):
        num_bad -= 1
    columns = [list(column) for column in zip(*good, strict=True)] or [[] for _ in header]
    return Table(dict(zip(header, columns, strict=True))), num_bad


def _load_yaml(content: bytes) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(content, loader)  # noqa: S506 -- both loaders are safe ones
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        msg = f"it is no YAML{f' (line {mark.line + 1})' if mark else ''}"
        raise UnreadableError(msg) from error


def _expect(value: Any, kind: type, otherwise: str) -> Any:
    if not isinstance(value, kind):
        raise UnreadableError(otherwise)
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return NO_NUMBER


def _is_number(text: str) -> bool:
    if not text:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
