"""Write files and folders whole or not at all, and know where data that can be made again lives."""

from __future__ import annotations

import csv
import errno
import glob
import io
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dogbreed.errors import UserError

# Full disk or quota, no permission, read-only file system, something else in the way.
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Offer a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader sees the old file or the new one, never a half; a failure or a kill
    leaves the old one.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o644)  # mkstemp makes it private
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Offer an empty folder beside ``folder`` that takes its place when the block succeeds."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = unfinished.with_suffix(".old")
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes it private
        if folder.exists():
            folder.rename(old)
        unfinished.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def remove_unfinished(folder: Path, names: Iterable[str], min_age_s: float = 0.0) -> None:
    """Remove what a killed process has left of files and folders of these names.

    Args:
        folder: They lie in it.
        names: Of what was to be written.
        min_age_s: Seconds without a change; with 0 nobody may be writing them.
    """
    for name in names:
        for path in folder.glob(f".{glob.escape(name)}.????????*"):  # the eight letters that tempfile draws
            if min_age_s and not _is_older(path, min_age_s):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_older(path: Path, age_s: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= age_s
    except FileNotFoundError:  # its writer has just given it its name
        return False


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; file names that are no UTF-8 keep their bytes."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all; numbers that JSON cannot hold (NaN, infinity) become null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8: JSON has no bytes, only escapes
        text = json.dumps(_finite(value), indent=2)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV with the union of their keys as columns, whole or not at all."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file's rows as texts; none if it is not there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def user_cache_dir() -> Path:
    """Return the folder for data that can be made again.

    ``$DOGBREED_CACHE``, else ``$XDG_CACHE_HOME/dogbreed``, else ``~/.cache/dogbreed``.
    """
    own = os.environ.get("DOGBREED_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dogbreed"


def make_folder_once(target: Path, fill: Callable[[Path], None], on_wait: Callable[[], None] | None = None) -> Path:
    """Make a folder exactly once, however many processes ask, and never half.

    Args:
        target: The folder wanted; if it exists and is not empty nothing is done.
        fill: Writes the content into an empty folder beside the target, which
            is renamed to the target afterwards.
        on_wait: Called once when another process is at it already.

    Returns:
        ``target``, complete.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    if _holds_something(target):
        return target
    with disk_errors(target), locked(target, on_wait):
        if not _holds_something(target):
            with replacing_folder(target) as unfinished:
                fill(unfinished)
    return target


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextmanager
def locked(target: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file beside ``target``; the system frees it when its holder dies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait:
            on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(target: Path, remedy: str = "DOGBREED_CACHE=DIR") -> Iterator[None]:
    """Turn a full disk or a missing permission into one sentence.

    Args:
        target: What is being written.
        remedy: How to choose another place.

    Raises:
        UserError: in place of the ``OSError``; others go through, as do those about
            files elsewhere.
    """
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not _is_around(Path(os.fsdecode(error.filename)), target)
        if error.errno not in DISK_ERRNOS or elsewhere:
            raise
        reason = os.strerror(error.errno)
        msg = f"{error.filename or target} cannot be written ({reason}): make room or choose another place, {remedy}."
        raise UserError(msg) from error


def _is_around(path: Path, target: Path) -> bool:
    """Say whether a path is the target, in it, beside it or above it."""
    path, target = path.absolute(), target.absolute()
    return path.is_relative_to(target.parent) or target.is_relative_to(path)
