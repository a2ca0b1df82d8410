"""Decoded pictures on disk, memory-mapped: each file is decoded once, ever.

A store is a folder of shards. A shard is two files that never change once they have their names: ``ID.pixels``, the
pictures one behind the other, and ``ID.npz``, whose they are. The table is renamed last, so that a shard without one is
what a killed process has left. A picture is found by a key of its path, size and time of change: a file that changed
is simply another picture.

Shape legend: N pictures, C channels (3), H/W pixels.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIXELS, TABLE = ".pixels", ".npz"

# A killed build loses no more than this; a large data set is a thousand files, not a million.
MAX_SHARD_BYTES = 256 * 1024 * 1024
# Written while more is decoded, so that little is left to wait for in the end.
SYNCED_BYTES = 32 * 1024 * 1024

Keys = NDArray[np.uint64]  # (N, 2)


class Places(NamedTuple):
    """Where the pictures of a list are.

    Args:
        shards_N: Number of the shard, -1 where a picture is in none.
        offsets_N: First byte in it.
        sizes_N2: Height and width in pixels.
    """

    shards_N: NDArray[np.int32]
    offsets_N: NDArray[np.int64]
    sizes_N2: NDArray[np.int32]


def key_of(identity: str) -> bytes:
    """Return the key of a picture: 16 bytes that are others when its identity is another."""
    return hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class _Shard:
    """One that is being written; an error of the disk is kept until it is to be finished.

    Args:
        folder: The store.
    """

    def __init__(self, folder: Path) -> None:
        self.num_bytes = self.num_synced = 0
        self._table = folder / (uuid4().hex + TABLE)
        self._rows: list[tuple[bytes, int, int, int]] = []
        # Unbuffered: a buffer would only be one more copy.
        self._file = self._table.with_suffix(PIXELS).open("wb", buffering=0)
        self._error: OSError | None = None

    def append(self, key: bytes, pixels_u8_HWC: NDArray[np.uint8]) -> None:
        _write_all(self._file, pixels_u8_HWC.reshape(-1).data)
        self._rows.append((key, self.num_bytes, *pixels_u8_HWC.shape[:2]))
        self.num_bytes += pixels_u8_HWC.nbytes

    def sync(self) -> None:
        """Wait until all that was appended so far is on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:  # the kernel says it once
            self._error = self._error or error

    def finish(self) -> None:
        """Give it its table, and with it its existence.

        Raises:
            OSError: the disk is full or cannot be written; nothing of it stays.
        """
        try:
            self.sync()
            if self._error is not None:
                raise self._error
            self._write_table()
        except BaseException:
            self.discard()
            raise
        self._file.close()

    def discard(self) -> None:
        with suppress(OSError):  # closing flushes, and a disk may be full
            self._file.close()
        for suffix in (PIXELS, ".part"):
            self._table.with_suffix(suffix).unlink(missing_ok=True)

    def _write_table(self) -> None:
        keys, offsets, heights, widths = zip(*self._rows, strict=True)
        unfinished = self._table.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(
                file,
                keys=np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, 2),
                offsets=np.array(offsets, dtype=np.int64),
                sizes=np.array([heights, widths], dtype=np.int32).T,
                num_bytes=np.array(self.num_bytes),
            )
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._table)


class ShardWriter:
    """Append pictures to new shards of a store.

    Args:
        folder: The store.
        max_bytes: Begin another shard beyond this.
        disk: A single thread, which waits for the disk while more pictures come.
    """

    def __init__(self, folder: Path, max_bytes: int, disk: Executor) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._disk = disk
        self._shard: _Shard | None = None
        self._finishing: deque[Future[None]] = deque()

    def add(self, key: bytes, image_u8_CHW: Tensor) -> None:
        """Append a picture.

        Raises:
            OSError: the disk is full or cannot be written; what was finished before stays.
        """
        while self._finishing and self._finishing[0].done():
            self._finishing.popleft().result()
        if self._shard is None:
            self._shard = _Shard(self._folder)
        shard = self._shard
        try:
            shard.append(key, image_u8_CHW.permute(1, 2, 0).contiguous().numpy())
        except OSError:
            self._shard = None
            self._disk.submit(shard.discard).result()
            raise
        if shard.num_bytes >= self._max_bytes:
            self._finish_shard()
        elif shard.num_bytes - shard.num_synced >= SYNCED_BYTES:
            shard.num_synced = shard.num_bytes
            self._disk.submit(shard.sync)

    def finish(self) -> None:
        """Finish all shards.

        Raises:
            OSError: as `add`.
        """
        self._finish_shard()
        while self._finishing:
            self._finishing.popleft().result()

    def _finish_shard(self) -> None:
        if self._shard is not None:
            self._finishing.append(self._disk.submit(self._shard.finish))
            self._shard = None


@contextmanager
def writing(folder: Path, max_bytes: int = MAX_SHARD_BYTES) -> Iterator[ShardWriter]:
    """Write shards; whatever happens, what was added stays, except for what does not fit on the disk."""
    with ThreadPoolExecutor(1, thread_name_prefix="disk") as disk:
        writer = ShardWriter(folder, max_bytes, disk)
        try:
            yield writer
        finally:
            writer.finish()


def _write_all(file: FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


class PixelStore:
    """What is in a store now, read-only.

    Opening reads the tables; pixels are mapped when they are first asked for. A shard that another process
    removes meanwhile stays readable here.

    Args:
        folder: The store; it may be missing or empty.
    """

    def __init__(self, folder: Path) -> None:
        self._shards: list[Path] = []
        self._maps: dict[int, Tensor] = {}
        tables = []
        for file in sorted(folder.glob(f"*{TABLE}")):
            table = _read_table(file)
            if table is not None:
                self._shards.append(file.with_suffix(PIXELS))
                tables.append(table)
        lengths = [len(table["keys"]) for table in tables]
        self._keys: Keys = _joined([table["keys"] for table in tables], np.uint64, 2)
        self._offsets = _joined([table["offsets"] for table in tables], np.int64)
        self._sizes = _joined([table["sizes"] for table in tables], np.int32, 2)
        self._shard_of = np.repeat(np.arange(len(tables), dtype=np.int32), lengths)
        self._order = np.argsort(self._keys[:, 0], kind="stable")

    def __len__(self) -> int:
        return len(self._keys)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}  # a loader process maps for itself

    def find(self, keys: Sequence[bytes]) -> Places:
        """Look pictures up by their keys."""
        wanted = np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, 2)
        if not len(self._keys) or not len(wanted):
            missing = np.full(len(wanted), -1, dtype=np.int32)
            return Places(missing, np.zeros(len(wanted), np.int64), np.zeros((len(wanted), 2), np.int32))
        at = np.searchsorted(self._keys[:, 0], wanted[:, 0], sorter=self._order)
        rows = self._order[np.minimum(at, len(self._keys) - 1)]
        is_there = (self._keys[rows] == wanted).all(axis=1)
        return Places(np.where(is_there, self._shard_of[rows], -1), self._offsets[rows], self._sizes[rows])

    def read(self, shard: int, offset: int, height: int, width: int) -> Tensor:
        """Return a picture as uint8 ``(3, H, W)`` that lies in the file; it must not be written to."""
        pixels = self._maps.get(shard)
        if pixels is None:
            # Private, because torch warns of arrays that cannot be written to.
            pixels = self._maps[shard] = torch.from_numpy(np.memmap(self._shards[shard], dtype=np.uint8, mode="c"))
        return pixels.as_strided((3, height, width), (1, 3 * width, 3), offset)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left; nobody may be writing to the store."""
    whole = {file.stem for file in folder.glob(f"*{TABLE}") if _read_table(file) is not None}
    for file in folder.iterdir():
        if file.suffix in (PIXELS, TABLE, ".part") and file.stem not in whole:
            file.unlink(missing_ok=True)


def _read_table(file: Path) -> dict[str, NDArray[Any]] | None:
    """Return a shard's table; None if it is damaged or its pixels are not all there."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            table = {name: archive[name] for name in ("keys", "offsets", "sizes", "num_bytes")}
        is_whole = file.with_suffix(PIXELS).stat().st_size == int(table["num_bytes"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return table if is_whole else None


def _joined(arrays: Iterable[NDArray[Any]], dtype: type, columns: int | None = None) -> NDArray[Any]:
    empty: NDArray[Any] = np.zeros((0, columns) if columns else 0, dtype=dtype)
    return np.concatenate([empty, *arrays])
