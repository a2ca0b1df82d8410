"""What the cache holds of each data set: list, measure, remove, make room. Imports no torch."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from dogbreed.files import read_json, user_cache_dir

log = logging.getLogger(__name__)

# Says what a folder of the cache holds.
ABOUT = "about.json"


@dataclass(frozen=True)
class Entry:
    """What the cache holds of one data set.

    Args:
        folder: Its store.
        root: Where the pictures came from.
        what: What was kept of its pictures.
        num_bytes: On disk.
        used: When a run last asked for it, in seconds since 1970.
    """

    folder: Path
    root: str
    what: str
    num_bytes: int
    used: float

    @property
    def used_text(self) -> str:
        """The day of its last use."""
        return time.strftime("%Y-%m-%d", time.localtime(self.used))


def default_folder() -> Path:
    """Return where the cache is unless ``data.cache`` names another place."""
    return user_cache_dir() / "decoded"


def entries(folder: Path) -> list[Entry]:
    """List what a cache folder holds, what was not used for longest first."""
    found = []
    for store in folder.iterdir() if folder.is_dir() else ():
        about = read_json(store / ABOUT)
        if about:
            num_bytes = sum(file.stat().st_size for file in store.iterdir())
            found.append(Entry(store, about.get("root", ""), about.get("what", ""), num_bytes, store.stat().st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def remove_entry(entry: Entry) -> None:
    """Remove what the cache holds of a data set; runs that are reading it decode again what they miss."""
    shutil.rmtree(entry.folder, ignore_errors=True)


class Room:
    """What may still be kept; other data sets go if there is none, the one that was not used for longest first.

    Args:
        folder: The cache.
        max_bytes: Of all data sets together; None for half of what the disk has left.
        keep: The entry that room is made for: it stays.
    """

    def __init__(self, folder: Path, max_bytes: int | None, keep: Path) -> None:
        found = entries(folder)
        if max_bytes is None:
            self._left = shutil.disk_usage(folder).free // 2
        else:
            self._left = max_bytes - sum(entry.num_bytes for entry in found)
        self._others = deque(entry for entry in found if entry.folder != keep)
        self._at_most = self._left + sum(entry.num_bytes for entry in self._others)

    def take(self, num_bytes: int) -> bool:
        """Say whether these bytes may be kept, too, once others have made room; nobody does where it is in vain."""
        if num_bytes > self._at_most:
            return False
        self._at_most -= num_bytes
        while self._left < num_bytes and self._others:
            oldest = self._others.popleft()
            log.info("cache   removed the %s of %s, not used since %s", oldest.what, oldest.root, oldest.used_text)
            remove_entry(oldest)
            self._left += oldest.num_bytes
        self._left -= num_bytes
        return True
