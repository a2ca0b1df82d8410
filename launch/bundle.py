"""The source archive of a job: deterministic, and nothing in it that the job does not need.

`sourcedir.tar.gz` holds ``sm_entry.py``, ``requirements.txt``, ``bundle.json``, our package, ``conf/``, the part of
`launch` that runs inside a job, the sweeper that files of ``conf/`` name, and the user's own code beside them. Names
are sorted, times, owners and modes fixed, gzip's header is empty: the same content is the same archive. Its hash is
that of the tar inside, because other builds of zlib pack the same content into other bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import dogbreed
from dogbreed.config import conf_dir
from dogbreed.errors import UserError
from dogbreed.files import disk_errors, replacing, user_cache_dir
from dogbreed.machine import source_revision
from launch.requirements import write_requirements
from launch.sources import list_checkout, list_sources

FILE_NAME = "sourcedir.tar.gz"
MAX_CODE_BYTES = 50_000_000

# What of `launch` a job needs; `launch.container` imports nothing else of it.
_LAUNCH_PARTS = ("__init__.py", "container/", "overrides.py")
# What files of conf/ name that a job composes from: a sweep's name its sweeper.
_PLUGINS = ("dogbreed_optuna",)
_OWN_NAMES = ("dogbreed", "conf", "launch", "hydra_plugins", "sm_entry.py", "requirements.txt", "bundle.json")
# 1980-01-01: what came before, zip files cannot hold and tools complain of.
TIME_S = 315_532_800

_ENTRY = '''"""What SageMaker's training toolkit starts; everything is in launch.container."""

import sys

from launch.container.entry import main

if __name__ == "__main__":
    sys.exit(main())
'''


@dataclass(frozen=True)
class Bundle:
    """A source archive on this machine.

    Args:
        path: ``sourcedir.tar.gz`` in the user's cache folder.
        sha256: Of the tar inside, in hex; what the bundle is stored under.
        num_bytes: Size of the archive.
        files: Name in the archive to bytes, unpacked.
        revision: Git revision of our own code; None outside a checkout.
        is_dirty: There are changes beside that revision.
    """

    path: Path
    sha256: str
    num_bytes: int
    files: Mapping[str, int]
    revision: str | None
    is_dirty: bool


def build_bundle(code: Sequence[str] = (), requirements: Sequence[str] = ()) -> Bundle:
    """Pack what a job runs into an archive in the user's cache folder; nothing is written if it is there already.

    Args:
        code: Folders and files of the user's own (``launch.code``), which lie beside our package in the job. In a git
            checkout, what git ignores stays behind; elsewhere hidden files, byte code and virtual environments do.
        requirements: More libraries (``launch.requirements``), as lines of a requirements.txt.

    Returns:
        The archive.

    Raises:
        UserError: user code is missing, too large, or has a name of ours; a requirement cannot be met in a job; or
            the cache folder cannot be written.
    """
    described = source_revision()
    revision = described.removesuffix("-dirty") if described else None
    is_dirty = bool(described and described.endswith("-dirty"))
    contents = {name: path.read_bytes() for name, path in _own_files().items()}
    contents |= _read_user_code(code)
    contents["sm_entry.py"] = _ENTRY.encode()
    contents["requirements.txt"] = write_requirements(requirements).encode()
    contents["bundle.json"] = _record(contents, revision, is_dirty=is_dirty)
    tar = _pack(contents)
    sha256 = hashlib.sha256(tar).hexdigest()
    path = user_cache_dir() / "launch" / "bundles" / sha256 / FILE_NAME
    if not path.exists():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished:
                unfinished.write_bytes(_gzip(tar))
    files = {name: len(content) for name, content in sorted(contents.items())}
    return Bundle(path, sha256, path.stat().st_size, files, revision, is_dirty)


def _own_files() -> dict[str, Path]:
    """Find our own files by their names in the archive, which are the same from a checkout and from a wheel."""
    package = Path(dogbreed.__file__).resolve().parent
    launcher = Path(__file__).resolve().parent
    conf = conf_dir()
    found = {}
    folders = [(package, "dogbreed"), (launcher, "launch"), (conf, "conf")]
    for plugin in _PLUGINS:
        spec = importlib.util.find_spec(f"hydra_plugins.{plugin}")
        if spec and spec.origin:
            folders.append((Path(spec.origin).parent, f"hydra_plugins/{plugin}"))
    for folder, top in folders:
        for name in list_checkout(folder):
            found[f"{top}/{name}"] = folder / name
    return {
        name: path
        for name, path in found.items()
        if not name.startswith("dogbreed/conf/")  # a wheel has it there; it is found as conf/ already
        and (not name.startswith("launch/") or name.removeprefix("launch/").startswith(_LAUNCH_PARTS))
    }


def _read_user_code(code: Sequence[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    tops: dict[str, str] = {}
    num_bytes = 0
    for given in code:
        source = Path(given).expanduser()
        top = _top_name(given, source, tops)
        for name, path in list_sources(source).items():
            num_bytes += path.stat().st_size
            if num_bytes > MAX_CODE_BYTES:
                msg = (
                    f"launch.code={given} makes the bundle larger than {MAX_CODE_BYTES / 1e6:.0f} MB: give only the "
                    "folders that hold code, or have .gitignore name what else lies there."
                )
                raise UserError(msg)
            try:
                contents[str(PurePosixPath(top, name)) if name else top] = path.read_bytes()
            except OSError as error:
                msg = f"launch.code: {path} cannot be read ({os.strerror(error.errno or 0)}): change its permissions."
                raise UserError(msg) from error
    return contents


def _top_name(given: str, source: Path, tops: dict[str, str]) -> str:
    """Return the name that user code has beside our package; a sentence if it cannot have it."""
    if not source.exists():
        msg = f"launch.code={given} does not exist: give folders or files with code of yours."
        raise UserError(msg)
    top = source.resolve().name
    if top == "requirements.txt":
        msg = f"launch.code={given}: list libraries in launch.requirements=[NAME,…] instead."
        raise UserError(msg)
    if not top or top in _OWN_NAMES:
        msg = f"launch.code={given} would take the place of our own {top}: rename it, or give the folder it lies in."
        raise UserError(msg)
    if top == "setup.py":  # the toolkit would install the whole bundle as a package and run sm_entry as its module
        msg = f"launch.code={given}: a setup.py changes how the job starts: give the package's folder instead."
        raise UserError(msg)
    if top in tops:
        msg = f"launch.code: {tops[top]} and {given} have the same name, {top}: rename one of them."
        raise UserError(msg)
    tops[top] = given
    return top


def _record(contents: Mapping[str, bytes], revision: str | None, *, is_dirty: bool) -> bytes:
    files = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    record = {"format": 1, "revision": revision, "dirty": is_dirty, "files": files}
    return (json.dumps(record, indent=1, ensure_ascii=True) + "\n").encode()


def _pack(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(contents.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mtime = TIME_S
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _gzip(data: bytes) -> bytes:
    """Compress without a name or a time; Python's own header differs between its versions."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = b"\x1f\x8b\x08\0" + bytes(4) + b"\x02\xff"
    packed = compressor.compress(data) + compressor.flush()
    return header + packed + struct.pack("<LL", zlib.crc32(data), len(data) & 0xFFFFFFFF)
