"""The cache of decoded pictures: filled by all cores before training, shared by runs, bounded, never needed.

Whatever goes wrong with it, pictures are decoded as if there were none, and one sentence says why.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dogbreed.data.cache_entries import ABOUT, Room, default_folder
from dogbreed.data.decode import DECODER
from dogbreed.data.index import ImageList
from dogbreed.data.pixels import Pixels, StoredPixels, View
from dogbreed.data.store import PixelStore, key_of, remove_leftovers, writing
from dogbreed.distributed import world
from dogbreed.files import locked, write_json
from dogbreed.machine import num_cpus

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[Iterable[int], int], Iterable[int]]


@dataclass(frozen=True)
class CacheSettings:
    """Where decoded pictures are kept and how much of them.

    Args:
        folder: One folder for all data sets.
        max_bytes: Of all data sets together; None for half of what the disk has left.
    """

    folder: Path = field(default_factory=default_folder)
    max_bytes: int | None = None


def cached_pixels(
    images: ImageList,
    view: View,
    settings: CacheSettings,
    positions: Sequence[int],
    progress: Progress | None = None,
) -> Pixels:
    """Return a split's pictures from the cache, decoding what is not in it yet.

    Several processes may ask at once: one decodes, the others wait for it.

    Args:
        images: The split.
        view: What is kept of each picture.
        settings: Where and how much.
        positions: Which pictures will be asked for.
        progress: Wraps the iteration over the positions that are decoded, for a progress bar.

    Returns:
        Where to read them; the whole split may be asked for.

    Raises:
        UserError: a file is gone or broken since the scan.
    """
    plain = Pixels(images, view)
    try:
        return _from_cache(plain, settings, positions, progress)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        log.warning("cache   %s cannot be used (%s): pictures are decoded in every epoch.", settings.folder, reason)
        return plain


def _from_cache(
    plain: Pixels, settings: CacheSettings, positions: Sequence[int], progress: Progress | None
) -> StoredPixels:
    folder = settings.folder / _name_of(plain)
    keys = keys_of(plain.images)
    stored = _stored(plain, folder, keys)
    if _missing(stored, positions):
        with filling(folder):
            stored = _stored(plain, folder, keys)
            if missing := _missing(stored, positions):
                write_json(folder / ABOUT, {"root": plain.images.where, "what": str(plain.view)})
                remove_leftovers(folder)
                _fill(folder, plain, keys, missing, settings, progress)
                stored = _stored(plain, folder, keys)
    mark_used(folder)
    return stored


class BusyError(Exception):
    """Another process is filling a folder of the cache."""


@contextmanager
def filling(folder: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold a folder of the cache, made if it is not there, while it is filled; others wait, and then look again.

    Args:
        folder: In the cache.
        waits: For another process that fills it.

    Raises:
        BusyError: another one does, and we do not wait.
    """

    def say() -> None:
        if not waits:
            raise BusyError
        if not world().is_started:  # else it is most likely another rank of ours
            log.info("cache   another process is filling %s: waiting for it", folder)

    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, say):
        yield


def mark_used(folder: Path) -> None:
    """Remember when a folder of the cache was used: the one that was not used for longest goes first."""
    with suppress(OSError):
        os.utime(folder)


def _name_of(pixels: Pixels) -> str:
    what = f"{pixels.images.where}\n{pixels.view!r}\n{DECODER}"
    return hashlib.blake2b(what.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def keys_of(images: ImageList, positions: Iterable[int] | None = None) -> list[bytes]:
    """Return the keys of a split's pictures, or of some of them."""

    def key(index: int) -> bytes:
        try:
            return key_of(images.identity(index))
        except OSError:
            return bytes(16)  # gone: whoever reads it will say so

    return [key(index) for index in (range(len(images)) if positions is None else positions)]


def _stored(plain: Pixels, folder: Path, keys: list[bytes]) -> StoredPixels:
    store = PixelStore(folder)
    return StoredPixels(plain.images, plain.view, store, store.find(keys))


def _missing(stored: StoredPixels, positions: Sequence[int]) -> list[int]:
    assert stored.places is not None
    wanted = np.asarray(positions, dtype=np.int64)
    missing: list[int] = wanted[stored.places.shards_N[wanted] < 0].tolist()
    return missing


def _fill(
    folder: Path,
    pixels: Pixels,
    keys: list[bytes],
    missing: list[int],
    settings: CacheSettings,
    progress: Progress | None,
) -> None:
    """Decode and write what is missing, as far as there is room."""
    room, num_left, reason = Room(settings.folder, settings.max_bytes, keep=folder), len(missing), ""
    try:
        with writing(folder) as writer:
            decoded = in_parallel(pixels.read, missing)
            done = progress(iter(missing), len(missing)) if progress else missing
            for position, image in zip(done, decoded, strict=True):
                if not room.take(image.numel()):
                    reason = "holds all that it may"
                    break
                writer.add(keys[position], image)
                num_left -= 1
    except OSError as error:
        reason = f"cannot be written ({os.strerror(error.errno or 0)})"
    if reason:
        log.warning(
            "cache   %s %s: %d pictures are decoded in every epoch; make room with python -m dogbreed.cache, or set "
            "data.cache=DIR or data.cache_max_gb.",
            settings.folder,
            reason,
            num_left,
        )


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the results of items in their order, computed by as many threads as there are cores.

    Decoding and resizing let go of Python's lock. Only a few results wait at a time.
    """
    threads = num_cpus()
    if threads == 1:  # a thread would only take turns with this one
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        source = iter(items)
        waiting: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(source, 4 * threads))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(source, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
