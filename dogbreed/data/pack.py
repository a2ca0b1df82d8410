"""A data set in a few large files: tar archives in WebDataset's layout, and an index of every picture in them.

An archive holds ``000000012.jpg``, the file's own bytes, and ``000000012.cls``, its class index, so that any tool of
that layout can read it. The index says where each picture's bytes lie: any order can be read without unpacking.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dogbreed.data.cache import CacheSettings
from dogbreed.data.index import ImageIndex, ImageList, PathList
from dogbreed.data.shards import PackedList, ShardFiles
from dogbreed.data.storage import PACK_JSON, Storage
from dogbreed.errors import UserError, shorten
from dogbreed.files import disk_errors

FORMAT = 1
INDEX = "index.npz"
SHARD_BYTES = 128 * 1024 * 1024

Progress = Callable[[Iterable[int], int], Iterable[int]]


@dataclass(frozen=True)
class PackSummary:
    """What was packed.

    Args:
        num_images: Pictures.
        num_shards: Archives.
        num_bytes: Of all archives.
    """

    num_images: int
    num_shards: int
    num_bytes: int


def write_pack(
    index: ImageIndex, storage: Storage, shard_bytes: int = SHARD_BYTES, progress: Progress | None = None
) -> PackSummary:
    """Pack every picture of an index; an archive at a time lies on this machine's disk.

    Pictures of a split are mixed before they are packed, always in the same way: what lies in one archive is learned
    from at about the same time.

    Args:
        index: Pictures on this machine.
        storage: Where the pack goes.
        shard_bytes: Begin another archive beyond this.
        progress: Wraps the iteration over each split, for a progress bar.

    Raises:
        UserError: there is a pack already, a picture cannot be read, or something cannot be written.
    """
    if storage.exists(PACK_JSON):
        msg = f"{storage.where} holds a packed data set already: name another place, or remove that one."
        raise UserError(msg)
    shards: list[dict[str, Any]] = []
    tables: dict[str, NDArray[Any]] = {}
    with tempfile.TemporaryDirectory(prefix="dogbreed_pack_") as scratch, disk_errors(Path(scratch), "TMPDIR=DIR"):
        for split in index.splits:
            rows = _write_split(index, split, storage, Path(scratch), shard_bytes, shards, progress)
            tables |= {f"{split}_{name}": values for name, values in rows.items()}
        content = _npz(tables)
        _put(storage, INDEX, Path(scratch), content)
        about = {
            "format": FORMAT,
            "class_names": list(index.class_names),
            "splits": index.counts(),
            "shards": shards,
            "index_sha256": hashlib.sha256(content).hexdigest(),
        }
        _put(storage, PACK_JSON, Path(scratch), json.dumps(about, indent=1, ensure_ascii=False).encode())
    return PackSummary(sum(index.counts().values()), len(shards), sum(shard["bytes"] for shard in shards))


def read_pack(
    storage: Storage, cache: CacheSettings | None = None, class_names: Sequence[str] | None = None
) -> ImageIndex:
    """Index a packed data set; nothing but the index is read.

    Args:
        storage: Where it is.
        cache: Where copies of archives from elsewhere are kept; None reads each picture by itself.
        class_names: The classes that must be those of the pack; None for any.

    Raises:
        UserError: there is none, it is damaged or newer than we are, or its classes are others.
    """
    if not storage.exists(PACK_JSON):
        msg = f"{storage.where} holds no packed data set ({PACK_JSON}): python -m dogbreed.pack writes one."
        raise UserError(msg)
    try:
        description = storage.read(PACK_JSON)
        identity = hashlib.sha256(description).hexdigest()  # it holds the hashes of all that there is
        about = json.loads(description)
        if about["format"] != FORMAT:
            msg = f"{storage.where} is of another format ({about['format']}) than this version reads ({FORMAT})."
            raise UserError(msg)
        content = storage.read(INDEX)
        if hashlib.sha256(content).hexdigest() != about["index_sha256"]:
            msg = f"{storage.where}/{INDEX} does not belong to its {PACK_JSON}: pack the data set anew."
            raise UserError(msg)
        sizes = [int(shard["bytes"]) for shard in about["shards"]]
        names = [str(shard["name"]) for shard in about["shards"]]
        files = ShardFiles(
            storage, identity, names, sizes, *((cache.folder, cache.max_bytes) if cache else (None, None))
        )
        with np.load(io.BytesIO(content), allow_pickle=False) as tables:
            splits: dict[str, ImageList] = {split: _read_split(tables, split, files) for split in about["splits"]}
        classes = tuple(about["class_names"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{storage.where}/{PACK_JSON} is damaged ({error}): pack the data set anew."
        raise UserError(msg) from error
    if class_names is not None and tuple(class_names) != classes:
        msg = f"{storage.where} was packed with other classes ({shorten(classes)}): pack a data set of these."
        raise UserError(msg)
    return ImageIndex(classes, splits)


def _write_split(
    index: ImageIndex,
    split: str,
    storage: Storage,
    scratch: Path,
    shard_bytes: int,
    shards: list[dict[str, Any]],
    progress: Progress | None,
) -> dict[str, NDArray[Any]]:
    images = index.split(split)
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    rows: list[tuple[int, int, int]] = []
    wanted: Iterator[int] = iter(progress(order, len(order)) if progress else order)
    packed = 0
    while packed < len(order):
        name = f"{split}-{len(shards):06d}.tar"
        with tarfile.open(scratch / name, "w", format=tarfile.USTAR_FORMAT) as archive:
            for position in wanted:
                start, size = _add(archive, packed, images.path(position), int(images.labels[position]))
                rows.append((len(shards), start, size))
                packed += 1
                if archive.offset >= shard_bytes:
                    break
        storage.put(scratch / name, name)
        with (scratch / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shards.append({"name": name, "bytes": (scratch / name).stat().st_size, "sha256": digest})
        (scratch / name).unlink()
    numbers, starts, sizes = np.array(rows, dtype=np.int64).T
    paths = "\0".join(images.paths[position] for position in order).encode("utf-8", "surrogateescape")
    return {
        "paths": np.frombuffer(paths, dtype=np.uint8),
        "labels": images.labels[order],
        "shards": numbers.astype(np.int32),
        "offsets": starts,
        "sizes": sizes,
    }


def _add(archive: tarfile.TarFile, number: int, path: Path, label: int) -> tuple[int, int]:
    """Add a picture; return where its bytes begin and how many there are."""
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}): restore or remove it and start again."
        raise UserError(msg) from error
    suffix = PurePosixPath(path).suffix.lower() or ".img"
    start = archive.offset + tarfile.BLOCKSIZE
    for ending, data in ((suffix, content), (".cls", str(label).encode())):
        member = tarfile.TarInfo(f"{number:09d}{ending}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return start, len(content)


def _npz(tables: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **tables)
    return buffer.getvalue()


def _put(storage: Storage, name: str, scratch: Path, content: bytes) -> None:
    (scratch / name).write_bytes(content)
    storage.put(scratch / name, name)


def _read_split(tables: Any, split: str, files: ShardFiles) -> PackedList:
    columns = {name: tables[f"{split}_{name}"] for name in ("paths", "labels", "shards", "offsets", "sizes")}
    paths: Sequence[str] = columns["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0")
    return PackedList(
        Path(files.storage.where),
        PathList(paths),
        columns["labels"].astype(np.int32),
        files,
        columns["shards"].astype(np.int32),
        columns["offsets"].astype(np.int64),
        columns["sizes"].astype(np.int64),
    )
