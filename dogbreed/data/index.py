"""Which pictures there are, of which class, in which split; and what is wrong with them.

An `ImageIndex` is compact and immutable: a million files take about 100 MB,
and the loader's worker processes share it without copying.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dogbreed.errors import UserError, count, shorten
from dogbreed.tables import format_table

SPLITS = ("train", "valid", "test")


class PathList(Sequence[str]):
    """Many relative paths in one buffer.

    A list of a million ``str`` costs about 100 MB more, and its reference
    counts make every worker process copy the pages that it touches.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        encoded = [path.encode("utf-8", "surrogateescape") for path in paths]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        self._ends: NDArray[np.int64] = np.cumsum(lengths)
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def content(self) -> bytes:
        """All paths in one, for a hash of them."""
        return self._bytes

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            msg = f"path {index} of {len(self)}"
            raise IndexError(msg)
        index %= len(self)
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class ImageList:
    """The pictures of one split.

    Args:
        root: Folder that the paths are relative to.
        paths: Relative paths, in a stable order.
        labels: Class index per path, int32, 0..K-1.
    """

    root: Path
    paths: PathList
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Path]:
        return (self.root / path for path in self.paths)

    def path(self, index: int) -> Path:
        """Return the full path of picture ``index``."""
        return self.root / self.paths[index]

    @property
    def where(self) -> str:
        """The place where they all are, the same from every folder."""
        return str(self.root.resolve())

    def source(self, index: int) -> Path | bytes:
        """Return what a picture is decoded from: its file, or the bytes of one.

        Raises:
            UserError: they cannot be had.
        """
        return self.path(index)

    def name(self, index: int) -> str:
        """Return where a picture is, for people."""
        return str(self.path(index))

    def identity(self, index: int) -> str:
        """Return what is another where the picture may be another: path, size and time of change.

        Raises:
            OSError: it is gone.
        """
        path = self.paths[index]
        stat = os.stat(os.path.join(self.root, path))  # noqa: PTH116 -- of a million files, in half of the time
        return f"{stat.st_size} {stat.st_mtime_ns} {path}"


@dataclass(frozen=True)
class IndexReport:
    """What a scan noticed, for people.

    Args:
        bad: ``(path, reason)`` of every file that is no readable picture.
        cut_short: Pictures whose pixel data breaks off; they are used as far as they go.
        leaked: Groups of identical files that lie in more than one split.
        missing_classes: Per split, class names without a picture there.
        notes: Decisions that the user should know, such as a split made by us.
    """

    bad: tuple[tuple[str, str], ...] = ()
    cut_short: tuple[str, ...] = ()
    leaked: tuple[tuple[str, ...], ...] = ()
    missing_classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """Phrase every finding as one sentence, the gravest first."""
        lines = []
        if self.leaked:
            examples = shorten([" = ".join(group) for group in self.leaked], 3)
            lines.append(f"leakage: {count(len(self.leaked), 'identical picture')} in more than one split: {examples}.")
        if self.bad:
            examples = shorten([f"{path} ({reason})" for path, reason in self.bad])
            lines.append(f"skipped {count(len(self.bad), 'file')} without a readable picture: {examples}.")
        if self.cut_short:
            lines.append(f"{count(len(self.cut_short), 'picture')} cut short, grey below: {shorten(self.cut_short)}.")
        lines += [
            f"the {split} split has no picture of {count(len(names), 'class')}: {shorten(names)}."
            for split, names in self.missing_classes.items()
        ]
        return lines


@dataclass(frozen=True)
class ImageIndex:
    """All pictures of a data set, by split.

    Args:
        class_names: Names in index order, K >= 2.
        splits: ``train``, and ``valid`` and ``test`` where there are any.
        report: What the scan noticed.
    """

    class_names: tuple[str, ...]
    splits: dict[str, ImageList]
    report: IndexReport = field(default_factory=IndexReport)

    def split(self, name: str) -> ImageList:
        """Return the pictures of a split.

        Raises:
            UserError: the data set has no such split.
        """
        if name not in self.splits:
            msg = f"The data set has no {name} split; it has {', '.join(self.splits)}."
            raise UserError(msg)
        return self.splits[name]

    def rows(self) -> list[dict[str, str]]:
        """Return path, label and split of every picture, as a manifest that gives this very index again."""
        return [
            {"path": path, "label": self.class_names[label], "split": split}
            for split, images in self.splits.items()
            for path, label in zip(images.paths, images.labels, strict=True)
        ]

    def class_counts(self, split: str) -> list[int]:
        """Return the number of pictures of each class in a split, in index order."""
        counts: list[int] = np.bincount(self.split(split).labels, minlength=len(self.class_names)).tolist()
        return counts

    def class_table(self) -> str:
        """Return the numbers of pictures by class and split, as text to be read."""
        counts = [self.class_counts(split) for split in self.splits]
        rows = list(zip(self.class_names, *counts, strict=True))
        return format_table(["class", *self.splits], [*rows, ("all", *(sum(column) for column in counts))])

    def counts(self) -> dict[str, int]:
        """Return the number of pictures per split."""
        return {name: len(images) for name, images in self.splits.items()}
