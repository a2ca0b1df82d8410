"""The listing of a folder that is to be uploaded: every file with its size and SHA-256, in a database on disk.

Memory does not grow with the number of files, and a file that has not changed since it was last read (size and time
of its last change) is not read again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dogbreed.errors import UserError
from dogbreed.files import user_cache_dir
from dogbreed.machine import num_cpus
from launch.parallel import in_parallel

CHUNK_BYTES = 1 << 20
# A file changed so shortly before it was read may change again without another time of change.
_SETTLED_NS = 2_000_000_000
_MAX_KEY_BYTES = 800  # S3 allows 1,024 for the whole key
_LEFT_OUT = frozenset({b"thumbs.db", b"desktop.ini"})
_ROW = "path, num_bytes, time_ns"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes(
    folder BLOB, path BLOB, num_bytes INTEGER, time_ns INTEGER, sha256 BLOB, PRIMARY KEY(folder, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored(store TEXT, sha256 BLOB, key TEXT, PRIMARY KEY(store, sha256)) WITHOUT ROWID;
CREATE TEMP TABLE listing(
    path BLOB PRIMARY KEY, num_bytes INTEGER, time_ns INTEGER, sha256 BLOB, is_stored INTEGER DEFAULT 0
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class ListedFile:
    """A file of a listing.

    Args:
        name: Path relative to the folder, with ``/``.
        path: Where it is.
        num_bytes: Its size when it was read.
        time_ns: When it was last changed.
        sha256: Of its content.
    """

    name: str
    path: Path
    num_bytes: int
    time_ns: int
    sha256: bytes


class Listing:
    """What is in a folder: as a context manager, which closes the database.

    Hidden files, and those that file managers leave behind, are left out; links are followed, but never in a circle.

    Args:
        folder: What is listed.

    Raises:
        UserError: the folder is missing, empty, or holds what cannot be read or stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        if not self.folder.is_dir():
            msg = f"{folder} is not a folder: give one that exists, or an s3:// address."
            raise UserError(msg)
        self._given = folder
        self.database = _open()
        try:
            self._scan()
            self._recall()
            self._read_new()
            self.sha256 = self._digest()
            self.num_files, self.num_bytes = self.count("1")
        except BaseException:
            self.database.close()
            raise

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def files(self, where: str = "1") -> Iterator[ListedFile]:
        """Iterate over the files in the order of their names' bytes.

        Args:
            where: Condition on the listing's columns, in SQL.
        """
        # A page at a time: a query that is under way would keep the database from others, and from being closed.
        ask = f"SELECT {_ROW}, sha256 FROM listing WHERE path > ? AND ({where}) ORDER BY path LIMIT 1000"  # noqa: S608
        last = b""
        while rows := self.database.execute(ask, (last,)).fetchall():
            last = rows[-1][0]
            for path, *rest in rows:
                yield ListedFile(path.decode(), self.folder / os.fsdecode(path), *rest)

    def count(self, where: str) -> tuple[int, int]:
        """Return how many files and bytes there are of a kind, given as for `files`."""
        num_files, num_bytes = self._ask(f"SELECT COUNT(*), TOTAL(num_bytes) FROM listing WHERE {where}")  # noqa: S608
        return num_files, int(num_bytes)

    def mark_stored(self, found: Iterable[tuple[bytes, int]]) -> None:
        """Mark the files whose objects are in the store with the right size (column ``is_stored``)."""
        mark = "UPDATE listing SET is_stored = 1 WHERE path = ? AND num_bytes = ?"
        with self.database:
            self.database.executemany(mark, found)

    def stored_key(self, store: str, sha256: bytes) -> str | None:
        """Return the key of an object that had this content when it was uploaded from here."""
        ask = "SELECT key FROM stored WHERE store = ? AND sha256 = ?"
        row = self.database.execute(ask, (store, sha256)).fetchone()
        return row[0] if row else None

    def remember_stored(self, store: str, objects: Iterable[tuple[bytes, str]]) -> None:
        """Keep which object has which content, for the next version of the folder."""
        with self.database:
            self.database.executemany(
                "INSERT OR REPLACE INTO stored VALUES(?, ?, ?)", ((store, sha256, key) for sha256, key in objects)
            )

    def _ask(self, query: str) -> tuple[int, int]:
        answer: tuple[int, int] = self.database.execute(query).fetchone()
        return answer

    def _scan(self) -> None:
        """List names, sizes and times."""
        insert = "INSERT INTO listing(path, num_bytes, time_ns) VALUES(?, ?, ?)"
        try:
            with self.database:
                self.database.executemany(insert, _walk(os.fsencode(self.folder), b"", ()))
        except OSError as error:
            raise _unreadable(error) from error
        if not self._ask("SELECT COUNT(*), 0 FROM listing")[0]:
            msg = f"{self._given} holds no files: give the folder that holds the pictures."
            raise UserError(msg)

    def _recall(self) -> None:
        """Take the hashes of files that have not changed from the last time."""
        recall = """
            UPDATE listing SET sha256 = (
                SELECT sha256 FROM hashes WHERE folder = ? AND hashes.path = listing.path
                AND hashes.num_bytes = listing.num_bytes AND hashes.time_ns = listing.time_ns
            )"""
        with self.database:
            self.database.execute(recall, (os.fsencode(self.folder),))

    def _read_new(self) -> None:
        """Read the files whose hashes are not known, in parallel; what has been read is kept if this breaks off."""
        total = self._ask("SELECT TOTAL(num_bytes), COUNT(*) FROM listing WHERE sha256 IS NULL")
        if not total[1]:
            return
        with tqdm(
            total=int(total[0]),
            desc=f"reading {self._given.name}",
            unit="B",
            unit_scale=True,
            disable=None,
            leave=False,
        ) as bar:
            unread = f"SELECT {_ROW} FROM listing WHERE sha256 IS NULL AND path > ? ORDER BY path LIMIT 1000"  # noqa: S608
            last = b""
            while rows := self.database.execute(unread, (last,)).fetchall():
                last = rows[-1][0]
                self._read(rows, bar)

    def _read(self, rows: list[tuple[bytes, int, int]], bar: tqdm[Any]) -> None:
        def read(row: tuple[bytes, int, int]) -> tuple[bytes, int, int, bytes]:
            path, num_bytes, time_ns = row
            return path, num_bytes, time_ns, hash_file(self.folder / os.fsdecode(path), num_bytes, time_ns)

        known: list[tuple[bytes, int, int, bytes]] = []
        try:
            for row in in_parallel(read, rows, num_threads=min(8, 2 * num_cpus())):
                known.append(row)
                bar.update(row[1])
        finally:
            now_ns = time.time_ns()
            settled = [(os.fsencode(self.folder), *row) for row in known if row[2] < now_ns - _SETTLED_NS]
            with self.database:
                self.database.executemany("UPDATE listing SET sha256 = ? WHERE path = ?", [(r[3], r[0]) for r in known])
                self.database.executemany("INSERT OR REPLACE INTO hashes VALUES(?, ?, ?, ?, ?)", settled)

    def _digest(self) -> str:
        digest = hashlib.sha256(b"dogbreed listing 1\n")
        for path, sha256 in self.database.execute("SELECT path, sha256 FROM listing ORDER BY path"):
            digest.update(sha256 + path + b"\0")
        return digest.hexdigest()


def hash_file(path: Path, num_bytes: int | None = None, time_ns: int | None = None) -> bytes:
    """Return a file's SHA-256.

    Args:
        path: The file.
        num_bytes: Its size as listed.
        time_ns: Its time of change as listed.

    Raises:
        UserError: it cannot be read, or is no longer what was listed.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as stream:
            buffer = memoryview(bytearray(min(CHUNK_BYTES, (num_bytes or CHUNK_BYTES) + 1)))
            while count := stream.readinto(buffer):
                digest.update(buffer[:count])
            now = os.fstat(stream.fileno())
    except FileNotFoundError as error:
        raise changed(path) from error
    except OSError as error:
        raise _unreadable(error, path) from error
    if num_bytes is not None and (now.st_size, now.st_mtime_ns) != (num_bytes, time_ns):
        raise changed(path)
    return digest.digest()


def changed(path: Path) -> UserError:
    """Return the error about a file that changes or vanishes while it is uploaded."""
    return UserError(
        f"{path} changed while it was uploaded: call again when nobody writes there any more; what was sent stays."
    )


def _unreadable(error: OSError, path: Path | None = None) -> UserError:
    name = path or os.fsdecode(error.filename)
    reason = os.strerror(error.errno or 0)
    return UserError(f"{name} cannot be read ({reason}): change its permissions or move it elsewhere.")


def _walk(top: bytes, below: bytes, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[bytes, int, int]]:
    """List the files below a folder: relative path, bytes, time of change."""
    here = os.path.join(top, below)
    folder = os.stat(here)  # noqa: PTH116 -- names as bytes
    if (folder.st_dev, folder.st_ino) in above:  # a link to a folder that it lies in
        return
    above = (*above, (folder.st_dev, folder.st_ino))
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.name.startswith(b".") or entry.name.lower() in _LEFT_OUT:
                continue
            name = os.path.join(below, entry.name)
            if entry.is_dir():
                folders.append(name)
            elif entry.is_file():
                found = entry.stat()
                yield _checked(top, name), found.st_size, found.st_mtime_ns
            elif entry.is_symlink():
                msg = f"{os.fsdecode(entry.path)} is a link to what does not exist: mend or remove it."
                raise UserError(msg)
    for name in folders:
        yield from _walk(top, name, above)


def _checked(top: bytes, name: bytes) -> bytes:
    """Return a name that S3 can hold as it is; a sentence about one that it cannot."""
    try:
        name.decode()
    except UnicodeDecodeError:
        msg = f"{os.fsdecode(top)} holds a file whose name is no UTF-8 ({os.fsdecode(name)!a}): rename it."
        raise UserError(msg) from None
    if len(name) > _MAX_KEY_BYTES:
        msg = f"{os.fsdecode(os.path.join(top, name))} has a name longer than {_MAX_KEY_BYTES} bytes: shorten it."
        raise UserError(msg)
    return name


def _open() -> sqlite3.Connection:
    """Open the cache of hashes; a damaged one is made anew, one that cannot be written is forgotten at the end."""
    file = user_cache_dir() / "launch" / "hashes.sqlite"
    for name in (str(file), str(file), ":memory:"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(name, timeout=60, check_same_thread=False)
            database.execute("PRAGMA temp_store = FILE")
            database.execute("PRAGMA temp.cache_size = -1024")
            database.executescript(_SCHEMA)
        except sqlite3.OperationalError:
            continue
        except (sqlite3.DatabaseError, OSError):
            with suppress(OSError):
                file.unlink(missing_ok=True)
        else:
            return database
    msg = f"{file} cannot be written: choose another place, DOGBREED_CACHE=DIR."
    raise UserError(msg)
