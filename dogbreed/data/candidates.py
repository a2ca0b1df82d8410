"""List the files that may be pictures of a data set, before anyone opens them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dogbreed.errors import UserError

SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
IGNORED_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(slots=True)
class Candidate:
    """One file while it is being looked at.

    Args:
        path: Relative to the data set's root.
        split: ``train``, ``valid`` or ``test``; None until one is cut.
        label: Class name.
        size_bytes: File size, filled by the scan.
        problem: Why it is no readable picture, filled by the scan; empty if it is one.
        cut_short: Its pixel data breaks off, filled by the scan.
    """

    path: str
    split: str | None
    label: str
    size_bytes: int = 0
    problem: str = ""
    cut_short: bool = False


def walk_tree(root: Path) -> Iterator[Candidate]:
    """List every file below the class folders of ``root``, in a stable order.

    Split folders (train, valid, test and their aliases) are recognised at the
    top; with them, other folders at the top are no classes and left alone.

    Raises:
        UserError: two folders mean the same split, or a folder cannot be read.
    """
    try:
        yield from _walk_splits(root)
    except PermissionError as error:
        msg = f"{error.filename} cannot be read ({error.strerror}): change its permissions or move it elsewhere."
        raise UserError(msg) from error


def _walk_splits(root: Path) -> Iterator[Candidate]:
    top = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not _is_ignored(entry.name))
    given: dict[str, str] = {}
    for name in top:
        split = SPLIT_ALIASES.get(name.lower())
        if split in given:
            msg = f"{root} has both {given[split]}/ and {name}/, which mean the same split: keep one of them."
            raise UserError(msg)
        if split:
            given[split] = name
    for split, name in given.items() if given else [(None, "")]:
        yield from _walk_classes(root, name, split)


def _walk_classes(root: Path, folder: str, split: str | None) -> Iterator[Candidate]:
    for class_dir in sorted(os.scandir(root / folder), key=lambda entry: entry.name):
        if not class_dir.is_dir() or _is_ignored(class_dir.name):
            continue
        for parent, subfolders, files in os.walk(class_dir.path, onerror=_raise):
            subfolders[:] = sorted(name for name in subfolders if not _is_ignored(name))
            relative = os.path.relpath(parent, root)
            for name in sorted(files):
                if not _is_ignored(name):
                    yield Candidate(os.path.join(relative, name), split, class_dir.name)


def _raise(error: OSError) -> None:
    """Have `os.walk` say what it cannot read; by itself it passes over it in silence."""
    raise error


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED_NAMES


def read_manifest(manifest: Path) -> Iterator[Candidate]:
    """List the rows of a CSV with the columns path, label and optionally split.

    Raises:
        UserError: the file, a column, a value or a split name is missing or wrong, or
            a path is named twice with different answers.
    """
    try:
        file = manifest.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        msg = f"data.manifest={manifest} cannot be read ({error.strerror}): give a CSV with the columns path,label."
        raise UserError(msg) from error
    with file:
        try:
            yield from _parse_rows(manifest, csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            msg = f"{manifest} is not a CSV in UTF-8 ({error}): save it as CSV UTF-8."
            raise UserError(msg) from error


def _parse_rows(manifest: Path, reader: csv.DictReader[str]) -> Iterator[Candidate]:
    names = reader.fieldnames or ()
    missing = {"path", "label"} - set(names)
    if missing:
        msg = (
            f"{manifest} lacks the column {' and '.join(sorted(missing))}: its first line must name "
            f"path,label[,split], and names {','.join(names) or 'nothing'}."
        )
        raise UserError(msg)
    seen: dict[str, tuple[Candidate, int]] = {}
    for row in reader:
        candidate = _parse_row(manifest, reader.line_num, row)
        first, line = seen.setdefault(os.path.normpath(candidate.path), (candidate, reader.line_num))
        if first is candidate:
            yield candidate
        elif (first.label, first.split) != (candidate.label, candidate.split):
            msg = (
                f"{manifest} names {candidate.path} twice, in line {line} and {reader.line_num}, with another label "
                "or split: keep one of them."
            )
            raise UserError(msg)


def _parse_row(manifest: Path, line: int, row: dict[str, str | None]) -> Candidate:
    path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
    if not path or not label:
        msg = f"{manifest} line {line}: {'path' if not path else 'label'} is empty."
        raise UserError(msg)
    split = (row.get("split") or "").strip().lower()
    if split and split not in SPLIT_ALIASES:
        msg = f"{manifest} line {line}: split {split!r} is unknown; use train, valid or test."
        raise UserError(msg)
    return Candidate(path, SPLIT_ALIASES.get(split), label)
