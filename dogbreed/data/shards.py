"""Pictures in the archives of a packed data set, and the copies of those archives that this machine keeps."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dogbreed.data.cache_entries import ABOUT
from dogbreed.data.index import ImageList
from dogbreed.data.storage import FolderStorage, Storage
from dogbreed.errors import UserError
from dogbreed.files import disk_errors, locked, remove_unfinished, write_json

# Archives that a process keeps open.
MAX_OPEN = 64
# Archives that are fetched at a time, ahead of those who need them.
NUM_FETCHED = 2


class ShardFiles:
    """The archives of a packed data set.

    Those of a folder are read where they lie. Those from elsewhere are copied when they are first asked for, once for
    all processes; beyond ``max_bytes`` the copy that was not used for longest goes.

    Args:
        storage: Where the archives are.
        pack: Identity of the pack: another one at the same place has other copies.
        names: Their names.
        sizes: Their sizes in bytes.
        folder: The cache, for the copies; None reads each picture from the storage.
        max_bytes: The most that all copies may take; None for half of what the disk has left.
    """

    def __init__(
        self,
        storage: Storage,
        pack: str,
        names: Sequence[str],
        sizes: Sequence[int],
        folder: Path | None,
        max_bytes: int | None,
    ) -> None:
        self.storage = storage
        self.pack = pack
        self.names = names
        self.sizes = sizes
        self.max_bytes = max_bytes
        self.copies: Path | None = None
        if isinstance(storage, FolderStorage):
            self._folder = storage.folder
        elif folder is not None:
            digest = hashlib.blake2b(f"{storage.where}\n{pack}".encode(), digest_size=8).hexdigest()
            self._folder = self.copies = folder / digest
        self._open: OrderedDict[int, int] = OrderedDict()
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    @property
    def is_remote(self) -> bool:
        """Whether archives are copied here."""
        return self.copies is not None

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return bytes of an archive.

        Raises:
            UserError: it is gone, cannot be reached, or its copy cannot be kept.
        """
        if self.copies is None and not isinstance(self.storage, FolderStorage):
            content = self.storage.read(self.names[shard], offset, size)
        else:
            content = os.pread(self._descriptor(shard), size, offset)
        if len(content) < size:  # decoding would go as far as it can
            msg = f"{self.storage.where}/{self.names[shard]} is cut short: copy it again, or pack the data set anew."
            raise UserError(msg)
        return content

    def fetch(self, shard: int) -> Path:
        """Make sure that an archive's copy is here; return it."""
        assert self.copies is not None
        target = self.copies / self.names[shard]
        if not self._is_whole(shard, target):
            with disk_errors(target, "data.cache=DIR, or data.cache=none to read each picture by itself"):
                self.copies.mkdir(parents=True, exist_ok=True)
                with locked(target):
                    if not self._is_whole(shard, target):
                        remove_unfinished(self.copies, [target.name])
                        self._make_room(shard)
                        self.storage.fetch(self.names[shard], target)
                        write_json(self.copies / ABOUT, {"root": self.storage.where, "what": "packed pictures"})
        with suppress(OSError):
            os.utime(target)
            os.utime(self.copies)
        return target

    def _is_whole(self, shard: int, target: Path) -> bool:
        try:
            return target.stat().st_size == self.sizes[shard]
        except OSError:
            return False

    def _make_room(self, shard: int) -> None:
        assert self.copies is not None
        kept = {file: file.stat() for file in self.copies.glob("*.tar")}
        held = sum(stat.st_size for stat in kept.values())
        limit = (held + shutil.disk_usage(self.copies).free) // 2 if self.max_bytes is None else self.max_bytes
        for file in sorted(kept, key=lambda file: kept[file].st_mtime_ns):
            if held + self.sizes[shard] <= limit:
                return
            file.unlink(missing_ok=True)  # who reads it has it open
            held -= kept[file].st_size

    def _descriptor(self, shard: int) -> int:
        if self._owner != os.getpid():  # forked: close nothing of our parent's
            self._open, self._owner = OrderedDict(), os.getpid()
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        while True:
            path = self.fetch(shard) if self.is_remote else self._folder / self.names[shard]
            try:
                self._open[shard] = os.open(path, os.O_RDONLY)
                break
            except FileNotFoundError:
                if not self.is_remote:  # say it as the storage does
                    self.storage.read(self.names[shard], 0, 1)
                    raise
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return self._open[shard]


@dataclass(frozen=True)
class PackedList(ImageList):
    """The pictures of one split, in archives.

    Args:
        root: Where they are, for messages.
        paths: Their names before they were packed, archive by archive.
        labels: Class index of each.
        files: The archives.
        shards_N: Archive of each picture.
        offsets_N: Where its bytes begin there.
        sizes_N: How many bytes it has.
    """

    files: ShardFiles
    shards_N: NDArray[np.int32]
    offsets_N: NDArray[np.int64]
    sizes_N: NDArray[np.int64]

    @property
    def where(self) -> str:
        """The pack's place."""
        return self.files.storage.where

    def source(self, index: int) -> bytes:
        """Return the picture's bytes."""
        return self.files.read(int(self.shards_N[index]), int(self.offsets_N[index]), int(self.sizes_N[index]))

    def name(self, index: int) -> str:
        """Return where it is, for people."""
        return f"{self.where}/{self.files.names[self.shards_N[index]]}, {self.paths[index]}"

    def identity(self, index: int) -> str:
        """Return what is another where the picture may be another."""
        return f"{self.files.pack} {self.shards_N[index]} {self.offsets_N[index]}"


class FetchAhead:
    """Fetch archives before the pictures in them are read.

    Args:
        images: A split whose archives are copied.
    """

    def __init__(self, images: PackedList) -> None:
        self._images = images
        self._asked: OrderedDict[int, None] = OrderedDict()
        self._pool = ThreadPoolExecutor(NUM_FETCHED, thread_name_prefix="fetch")

    def __call__(self, image: int) -> None:
        """Have the archive of a picture fetched; returns at once."""
        shard = int(self._images.shards_N[image])
        is_new = shard not in self._asked
        self._asked[shard] = None
        self._asked.move_to_end(shard)
        if is_new:
            self._pool.submit(self._fetch, shard)
        if len(self._asked) > MAX_OPEN:
            self._asked.popitem(last=False)

    def _fetch(self, shard: int) -> None:
        with suppress(Exception):  # whoever needs it meets the same, and says so
            self._images.files.fetch(shard)
