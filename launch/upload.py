"""Upload folders and files so that nothing is sent twice.

A folder lies under the SHA-256 of its listing (names and contents): the same folder is the same place, for every run
and everyone who shares the bucket. A marker beside it, written last, says that it is complete; without one an upload
goes on where it broke off. What an earlier version of the folder had already is copied within the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dogbreed.errors import UserError
from dogbreed.files import locked, user_cache_dir
from launch.hashing import ListedFile, Listing, changed, hash_file
from launch.parallel import in_parallel
from launch.protocols import ObjectStore

NUM_THREADS = 16
# Smaller files are read once more before they are sent, so that what is stored is what was listed.
SMALL_BYTES = 8 << 20


@dataclass(frozen=True)
class Uploaded:
    """A folder in a store.

    Args:
        prefix: All its objects' keys are ``prefix/NAME``.
        num_files: In the folder.
        num_bytes: In the folder.
        num_sent: Files that were sent this time.
        num_copied: Files that were copied within the store this time.
    """

    prefix: str
    num_files: int
    num_bytes: int
    num_sent: int
    num_copied: int


@dataclass(frozen=True)
class UploadedFile:
    """A file in a store.

    Args:
        key: Its object's.
        num_bytes: Its size.
        was_sent: It was not there before.
    """

    key: str
    num_bytes: int
    was_sent: bool


def upload_folder(store: ObjectStore, folder: Path, prefix: str, num_threads: int = NUM_THREADS) -> Uploaded:
    """Upload a folder unless it is there already.

    Hidden files stay behind. An upload that breaks off goes on when it is asked for again.

    Args:
        store: Where to.
        folder: What; nobody should be writing in it.
        prefix: Beginning of the keys, without a slash at its end; ``/SHA256`` is added.
        num_threads: Files under way at a time, >= 1.

    Returns:
        Where it is, and what had to be done.

    Raises:
        UserError: the folder is missing, empty, cannot be read or changes meanwhile; or the store refuses.
    """
    with Listing(folder) as listing:
        place = f"{prefix}/{listing.sha256}"
        marker = marker_key(prefix, listing.sha256)
        done = Uploaded(place, listing.num_files, listing.num_bytes, 0, 0)
        if _is_complete(store, place, marker):
            return done
        # One at a time on this machine: who has waited finds the marker.
        with locked(user_cache_dir() / "launch" / "uploads" / listing.sha256):
            if _is_complete(store, place, marker):
                return done
            transfer = _Transfer(store, listing, place)
            transfer.run(num_threads)
            record = {"files": listing.num_files, "bytes": listing.num_bytes, "prefix": place}
            store.put_bytes((json.dumps(record) + "\n").encode(), marker)
    return Uploaded(place, listing.num_files, listing.num_bytes, transfer.num_sent, transfer.num_copied)


def upload_file(store: ObjectStore, path: Path, prefix: str, sha256: str | None = None) -> UploadedFile:
    """Upload one file under its hash unless it is there already.

    Args:
        store: Where to.
        path: The file.
        prefix: The key is ``prefix/SHA256/NAME``.
        sha256: What names it, in hex; None for the hash of its content.

    Raises:
        UserError: the file cannot be read or changes meanwhile; or the store refuses.
    """
    try:
        before = path.stat()
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}): give a file that exists."
        raise UserError(msg) from error
    named = sha256 or hash_file(path, before.st_size, before.st_mtime_ns).hex()
    key = f"{prefix}/{named}/{path.name}"
    if any(found.key == key and found.num_bytes == before.st_size for found in store.list(key)):
        return UploadedFile(key, before.st_size, was_sent=False)
    store.put_file(path, key)
    _check_unchanged(store, path, key, before.st_size, before.st_mtime_ns)
    return UploadedFile(key, before.st_size, was_sent=True)


def marker_key(prefix: str, sha256: str) -> str:
    """Return the key of the object that says that a folder is complete; not below the folder, which a job reads."""
    return f"{prefix}/complete/{sha256}.json"


def _is_complete(store: ObjectStore, place: str, marker: str) -> bool:
    """Ask for the marker, and whether somebody has removed the folder since."""
    return store.exists(marker) and next(iter(store.list(f"{place}/")), None) is not None


class _Transfer:
    """Brings a listing's files into the store; the database of the listing knows what is there."""

    def __init__(self, store: ObjectStore, listing: Listing, place: str) -> None:
        self.num_sent = self.num_copied = 0
        self._store = store
        self._listing = listing
        self._place = place
        # Which store a key is in: its bucket's name is unique in the world, but not among servers on this machine.
        self._name = f"{getattr(store, 'endpoint_url', None) or ''}/{store.bucket}"

    def run(self, num_threads: int) -> None:
        self._note_present()
        rest = self._listing.files("NOT is_stored")
        count, num_bytes = self._listing.count("NOT is_stored")
        desc = f"uploading {self._listing.folder.name} ({count} files)"
        stored: list[ListedFile] = []
        with tqdm(total=num_bytes, desc=desc, unit="B", unit_scale=True, disable=None, leave=False) as bar:
            try:
                for file, was_copied in in_parallel(self._bring, self._with_sources(rest), num_threads):
                    stored.append(file)
                    self.num_copied += was_copied
                    self.num_sent += not was_copied
                    bar.update(file.num_bytes)
                    if len(stored) >= 1000:
                        self._remember(stored)
            finally:
                self._remember(stored)

    def _note_present(self) -> None:
        """Mark what an upload that broke off has brought already: an object is whole or not there."""
        start = len(self._place) + 1
        self._listing.mark_stored(
            (found.key[start:].encode(), found.num_bytes) for found in self._store.list(f"{self._place}/")
        )

    def _with_sources(self, files: Iterator[ListedFile]) -> Iterator[tuple[ListedFile, str | None]]:
        for file in files:
            yield file, self._listing.stored_key(self._name, file.sha256)

    def _bring(self, item: tuple[ListedFile, str | None]) -> tuple[ListedFile, bool]:
        """Copy or send one file; return it and whether it was copied."""
        file, source = item
        key = f"{self._place}/{file.name}"
        if source and source != key:
            try:
                self._store.copy(source, key)
            except UserError:
                pass  # it has been removed since: send it; whatever else is wrong shows there, too
            else:
                return file, True
        if file.num_bytes > SMALL_BYTES:
            self._store.put_file(file.path, key)
            _check_unchanged(self._store, file.path, key, file.num_bytes, file.time_ns)
        else:
            self._store.put_bytes(_read_again(file), key)
        return file, False

    def _remember(self, stored: list[ListedFile]) -> None:
        self._listing.remember_stored(self._name, ((file.sha256, f"{self._place}/{file.name}") for file in stored))
        stored.clear()


def _read_again(file: ListedFile) -> bytes:
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise changed(file.path) from error
    if hashlib.sha256(data).digest() != file.sha256:
        raise changed(file.path)
    return data


def _check_unchanged(store: ObjectStore, path: Path, key: str, num_bytes: int, time_ns: int) -> None:
    """Refuse a large file that has changed while it was sent, and leave an object that nobody takes for it."""
    try:
        now = path.stat()
    except OSError:
        now = None
    if now is None or (now.st_size, now.st_mtime_ns) != (num_bytes, time_ns):
        store.put_bytes(b"", key)
        raise changed(path)
