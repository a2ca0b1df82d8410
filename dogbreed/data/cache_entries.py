"""What the cache holds of each data set: list, measure, remove. Imports no torch."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from dogbreed.files import read_json, user_cache_dir

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
