"""Find the pictures of a data set on disk: a tree of class folders or a CSV manifest.

Layouts of `scan_folder`:

* ``ROOT/{train,valid|val|validation,test}/CLASS/…``: the splits as given; a
  missing valid split is cut from train, a missing test split stays missing;
* ``ROOT/CLASS/…``: split by us, stratified and deterministic.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dogbreed.data.candidates import Candidate, read_manifest, walk_tree
from dogbreed.data.decode import BadImageError, is_cut_short
from dogbreed.data.index import SPLITS, ImageIndex, ImageList, IndexReport, PathList
from dogbreed.data.splits import SplitRule, assign_splits
from dogbreed.errors import UserError, count, did_you_mean, shorten

# Files that this process has found whole are not opened again while they stay as they are: the trials of a sweep all
# scan the same folder.
MAX_REMEMBERED = 50_000

# Of pictures; what a file is, its content says.
_USUAL_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


class _Seen(NamedTuple):
    size_bytes: int
    mtime_ns: int
    inode: int


_WHOLE: dict[str, _Seen] = {}

Progress = Callable[[Iterable[Candidate], int], Iterable[Candidate]]


def check_root(root: Path) -> None:
    """Refuse a root that is no folder.

    Raises:
        UserError: names it.
    """
    if not root.is_dir():
        msg = f"data.root={root} is not a folder: give the folder that holds the pictures, data.root=DIR."
        raise UserError(msg)


def check_manifest(manifest: Path) -> None:
    """Refuse a manifest that is no file.

    Raises:
        UserError: names it.
    """
    if not manifest.is_file():
        what = "is a folder" if manifest.is_dir() else "does not exist"
        msg = f"data.manifest={manifest} {what}: give a CSV with the columns path,label."
        raise UserError(msg)


def scan_folder(
    root: Path,
    rule: SplitRule | None = None,
    on_bad_file: str = "skip",
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ImageIndex:
    """Index a tree of class folders.

    Args:
        root: Folder in one of the layouts of this module.
        rule: How to cut missing splits.
        on_bad_file: ``skip`` files that are no readable pictures (the report
            lists them), or ``refuse`` the data set.
        class_names: The classes that there may be, in index order; without them
            the classes that have training pictures, in sorted order.
        progress: Wraps the iteration over all files, for a progress bar.

    Returns:
        The index.

    Raises:
        UserError: the folder is missing, holds no pictures or fewer than two
            classes, a class is unknown or has no training picture, or a bad file
            is refused.
    """
    check_root(root)
    found = list(walk_tree(root))
    if not found and any(file.suffix.lower() in _USUAL_ENDINGS for file in root.iterdir()):
        msg = f"The pictures lie directly in {root}, without folders of classes: name the folder above it."
        raise UserError(msg)
    return _build_index(root, found, rule, on_bad_file, class_names, progress)


def scan_manifest(
    manifest: Path,
    root: Path | None = None,
    rule: SplitRule | None = None,
    on_bad_file: str = "skip",
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ImageIndex:
    """Index the pictures that a CSV names.

    Args:
        manifest: CSV with the columns ``path``, ``label`` and optionally ``split``.
        root: Folder that the paths are relative to; the manifest's own by default.
        rule: How to cut missing splits.
        on_bad_file: As in `scan_folder`.
        class_names: As in `scan_folder`.
        progress: As in `scan_folder`.

    Returns:
        The index.

    Raises:
        UserError: as `scan_folder`, or a column, split name or label is wrong.
    """
    found = list(read_manifest(manifest))
    return _build_index(root or manifest.parent, found, rule, on_bad_file, class_names, progress)


def _build_index(
    root: Path,
    found: list[Candidate],
    rule: SplitRule | None,
    on_bad_file: str,
    class_names: Sequence[str] | None,
    progress: Progress | None,
) -> ImageIndex:
    if on_bad_file not in ("skip", "refuse"):
        msg = f"data.on_bad_file={on_bad_file} is unknown; use skip or refuse."
        raise UserError(msg)
    _inspect(root, found, progress)
    good = [item for item in found if not item.problem]
    bad = tuple((item.path, item.problem) for item in found if item.problem)
    if bad and on_bad_file == "refuse":
        examples = shorten([f"{path} ({reason})" for path, reason in bad])
        msg = (
            f"{count(len(bad), 'file')} in {root} without a readable picture: {examples}. Mend them, or set "
            "data.on_bad_file=skip."
        )
        raise UserError(msg)
    if not good:
        hint = f" ({count(len(bad), 'file')} there without a readable picture)" if bad else ""
        msg = f"No pictures found in {root}{hint}: expected train/CLASS/picture.jpg or CLASS/picture.jpg."
        raise UserError(msg)
    twins = _find_identical(root, good)
    notes = assign_splits(good, twins, rule or SplitRule())
    names = tuple(class_names) if class_names else _trained_classes(root, good)
    _check_labels(good, names)
    report = IndexReport(
        bad=bad,
        cut_short=tuple(item.path for item in good if item.cut_short),
        leaked=_leaked(good, twins),
        missing_classes=_missing_classes(good, names),
        notes=notes,
    )
    return ImageIndex(names, _collect_splits(root, good, names), report)


def _inspect(root: Path, found: list[Candidate], progress: Progress | None) -> None:
    """Look at every file in parallel: size, header, end of data."""

    def look(item: Candidate) -> Candidate:
        path = root / item.path
        try:
            found = path.stat()
            item.size_bytes = found.st_size
            seen = _Seen(found.st_size, found.st_mtime_ns, found.st_ino)
            known = _WHOLE.get(str(path)) == seen
            item.cut_short = not known and is_cut_short(path)
            if not (known or item.cut_short) and len(_WHOLE) < MAX_REMEMBERED:
                _WHOLE[str(path)] = seen
        except FileNotFoundError:
            item.problem = "missing"
        except (BadImageError, OSError) as error:
            item.problem = str(error)
        return item

    def look_at_some(items: Sequence[Candidate]) -> list[Candidate]:
        return [look(item) for item in items]

    def look_at_all() -> Iterator[Candidate]:
        with ThreadPoolExecutor(max_workers=min(32, 4 * (os.cpu_count() or 1))) as pool:
            # In slices: a million queued futures would take a gigabyte; in pieces: one costs more than a short look.
            for start in range(0, len(found), 4096):
                pieces = [found[first : first + 32] for first in range(start, min(start + 4096, len(found)), 32)]
                for looked in pool.map(look_at_some, pieces):
                    yield from looked

    looked = look_at_all()
    for _ in progress(looked, len(found)) if progress else looked:
        pass


def _find_identical(root: Path, items: list[Candidate]) -> dict[str, str]:
    """Map each path to the first path with the same content; only files of equal size are read."""
    by_size: dict[int, list[Candidate]] = defaultdict(list)
    for item in items:
        by_size[item.size_bytes].append(item)
    first_of: dict[str, str] = {}
    seen: dict[tuple[int, bytes], str] = {}
    for size_bytes, group in by_size.items():
        if len(group) == 1:
            continue
        for item in group:
            digest = hashlib.sha256((root / item.path).read_bytes()).digest()
            first = seen.setdefault((size_bytes, digest), item.path)
            if first != item.path:
                first_of[item.path] = first
    return first_of


def _trained_classes(root: Path, items: list[Candidate]) -> tuple[str, ...]:
    names = sorted({item.label for item in items if item.split == "train"})
    if not names:
        msg = f"{root} has no training pictures: add train/CLASS/picture.jpg."
        raise UserError(msg)
    if len(names) == 1:
        msg = f"{root} holds one class only ({names[0]}): a classifier needs at least two."
        raise UserError(msg)
    return tuple(names)


def _check_labels(items: list[Candidate], class_names: tuple[str, ...]) -> None:
    known = set(class_names)
    stray = next((item for item in items if item.label not in known), None)
    if stray:
        msg = (
            f"Label {stray.label!r} of {stray.path} ({stray.split} split) is no class that has training pictures. "
            f"{did_you_mean(stray.label, class_names)}"
        )
        raise UserError(msg.strip())


def _leaked(items: list[Candidate], twins: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    splits = {item.path: item.split for item in items}
    groups: dict[str, list[str]] = defaultdict(list)
    for path, first in twins.items():
        groups[first].append(path)
    return tuple(
        (first, *paths) for first, paths in groups.items() if len({splits[path] for path in (first, *paths)}) > 1
    )


def _missing_classes(items: list[Candidate], class_names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    present = {(item.split, item.label) for item in items}
    used = {item.split for item in items}
    missing = {
        split: tuple(name for name in class_names if (split, name) not in present) for split in SPLITS if split in used
    }
    return {split: names for split, names in missing.items() if names}


def _collect_splits(root: Path, items: list[Candidate], class_names: tuple[str, ...]) -> dict[str, ImageList]:
    label_of = {name: label for label, name in enumerate(class_names)}
    splits = {}
    for split in SPLITS:
        members = sorted((item for item in items if item.split == split), key=lambda item: item.path)
        if members:
            labels = np.fromiter((label_of[item.label] for item in members), dtype=np.int32, count=len(members))
            splits[split] = ImageList(root, PathList([item.path for item in members]), labels)
    return splits
