"""``model.tar.gz``: all that a container needs to answer with a model; the same content is the same archive.

    model.json, model.safetensors, …   the model folder's files
    config.yaml                        Ray Serve's own: which application to run
    dogbreed_app.py                    that application, a few lines
    code/requirements.txt              what the container lacks; it installs them before it starts
    code/dogbreed/…                    our package, as it is here

The container unpacks it into /opt/ml/model and finds modules in there and in code/. No file of ours is called
config.yaml, which it would take for Ray's.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import dogbreed
from dogbreed.errors import UserError
from dogbreed.files import disk_errors, replacing, user_cache_dir
from dogbreed.model_description import (
    EXAMPLE_JPG,
    EXAMPLE_JSON,
    MODEL_JSON,
    WEIGHTS,
    check_sha256,
    read_description,
    sha256_of,
)
from dogbreed.serving.ray.files import ray_files
from launch.bundle import TIME_S
from launch.sources import list_checkout

FILE_NAME = "model.tar.gz"
# Raised when the same content would make another archive.
FORMAT = "1"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A model's archive on this machine.

    Args:
        path: ``model.tar.gz`` in the user's cache folder.
        sha256: Of its content, in hex; what it is stored under.
        num_bytes: Size of the archive.
        files: Name in it to bytes, unpacked.
    """

    path: Path
    sha256: str
    num_bytes: int
    files: Mapping[str, int]


def build_archive(model_folder: Path) -> Archive:
    """Pack a model folder and our code into an archive in the user's cache folder, unless it is there already.

    Args:
        model_folder: What `dogbreed.model_description.find_model_folder` has found.

    Raises:
        UserError: a file of the model folder is missing or damaged; or the cache folder cannot be written.
    """
    contents = _model_files(model_folder) | _code_files()
    hashes = {name: sha256_of(item) if isinstance(item, Path) else _sha256(item) for name, item in contents.items()}
    listing = "\n".join(f"{name} {sha256}" for name, sha256 in sorted(hashes.items()))
    digest = _sha256(f"{FORMAT}\n{listing}".encode())
    path = user_cache_dir() / "launch" / "models" / digest / FILE_NAME
    if not path.exists():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished, unfinished.open("wb") as stream:
                _write(contents, stream)
    files = {name: item.stat().st_size if isinstance(item, Path) else len(item) for name, item in contents.items()}
    return Archive(path, digest, path.stat().st_size, dict(sorted(files.items())))


def _model_files(folder: Path) -> dict[str, Path | bytes]:
    """Find the files of a model folder, those that its description names; anything else in it stays behind."""
    info = read_description(folder)
    check_sha256(folder / WEIGHTS, info["weights_sha256"])
    names = [MODEL_JSON, WEIGHTS]
    if info["familiarity"]:
        check_sha256(folder / info["familiarity"]["file"], info["familiarity"]["sha256"])
        names.append(info["familiarity"]["file"])
    names += [name for name in ("training_config.yaml", EXAMPLE_JPG, EXAMPLE_JSON) if (folder / name).is_file()]
    return {name: folder / name for name in names}


def _code_files() -> dict[str, Path | bytes]:
    package = Path(dogbreed.__file__).resolve().parent
    names = [name for name in list_checkout(package) if not name.startswith("conf/")]
    if "serving/__init__.py" not in names:
        msg = f"{package} has no serving: install the whole of dogbreed."
        raise UserError(msg)
    found: dict[str, Path | bytes] = {f"code/dogbreed/{name}": (package / name).read_bytes() for name in names}
    return found | {name: text.encode() for name, text in ray_files().items()}


def _write(contents: Mapping[str, Path | bytes], stream: IO[bytes]) -> None:
    """Write a tar.gz as it goes, without a name or a time: weights may be large, and hardly shrink."""
    with _Gzip(stream) as packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, item in sorted(contents.items()):
            member = tarfile.TarInfo(name)
            member.size = item.stat().st_size if isinstance(item, Path) else len(item)
            member.mtime, member.mode = TIME_S, 0o644
            with item.open("rb") if isinstance(item, Path) else io.BytesIO(item) as source:
                tar.addfile(member, source)


class _Gzip(io.RawIOBase):
    """A gzip stream whose header says nothing; Python's own differs between its versions."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc, self._num_bytes = 0, 0
        stream.write(b"\x1f\x8b\x08\0" + bytes(4) + b"\0\xff")

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._crc = zlib.crc32(data, self._crc)
        self._num_bytes += len(data)
        self._stream.write(self._packer.compress(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.write(self._packer.flush())
            end = (self._crc, self._num_bytes & 0xFFFFFFFF)
            self._stream.write(b"".join(number.to_bytes(4, "little") for number in end))
        super().close()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
