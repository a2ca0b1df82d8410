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
from collections.abc import Iterable, Iterator, Sequence
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


class ShardWriter:
    """Append pictures to new shards of a store.

    Args:
        folder: The store.
        max_bytes: Begin another shard beyond this.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_SHARD_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._rows: list[tuple[bytes, int, int, int]] = []
        self._file: FileIO | None = None
        self._end = 0
        self._name = ""

    def add(self, key: bytes, image_u8_CHW: Tensor) -> None:
        """Append a picture.

        Raises:
            OSError: the disk is full or cannot be written; what was finished before stays.
        """
        if self._file is None:
            self._name = uuid4().hex
            # Unbuffered: a buffer would only be one more copy.
            self._file = (self._folder / (self._name + PIXELS)).open("wb", buffering=0)
            self._rows, self._end = [], 0
        pixels = image_u8_CHW.permute(1, 2, 0).contiguous().numpy()
        try:
            _write_all(self._file, pixels.reshape(-1).data)
        except OSError:
            self._discard()
            raise
        self._rows.append((key, self._end, *pixels.shape[:2]))
        self._end += pixels.nbytes
        if self._end >= self._max_bytes:
            self.finish()

    def finish(self) -> None:
        """Give the shard that is being written its table, and with it its existence.

        Raises:
            OSError: as `add`.
        """
        if self._file is None:
            return
        try:
            self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        keys, offsets, heights, widths = zip(*self._rows, strict=True)
        table = self._folder / (self._name + TABLE)
        unfinished = table.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(
                file,
                keys=np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, 2),
                offsets=np.array(offsets, dtype=np.int64),
                sizes=np.array([heights, widths], dtype=np.int32).T,
                num_bytes=np.array(self._end),
            )
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(table)
        self._name = ""

    def _discard(self) -> None:
        """Remove the shard that is being written, if it has not been finished."""
        if self._file is not None:
            with suppress(OSError):  # closing flushes, and a disk may be full
                self._file.close()
            self._file = None
        for suffix in (PIXELS, ".part") if self._name else ():
            (self._folder / (self._name + suffix)).unlink(missing_ok=True)


@contextmanager
def writing(folder: Path, max_bytes: int = MAX_SHARD_BYTES) -> Iterator[ShardWriter]:
    """Write shards; whatever happens, what was added stays, except for what does not fit on the disk."""
    writer = ShardWriter(folder, max_bytes)
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
