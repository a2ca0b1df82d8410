"""Fetch a large archive over a poor line, once, and unpack it without trusting it."""

from __future__ import annotations

import http.client
import lzma
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from dogbreed.errors import UserError
from dogbreed.files import disk_errors, locked

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30

# What reading a damaged archive raises, names that no file can have included.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)

# (bytes done, bytes in all or None)
Progress = Callable[[int, int | None], None]


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


def download(url: str, target: Path, progress: Progress | None = None, attempts: int = 5, wait_s: float = 2.0) -> Path:
    """Download a file, resuming where an earlier try broke off.

    The unfinished file stays beside the target as ``NAME.part`` with the
    server's tag of the version that it belongs to; a server that cannot resume
    or has another version by now sends the whole file again.

    Args:
        url: ``http(s)://`` address.
        target: Where the finished file goes; if it exists nothing is fetched.
        progress: Called after each chunk.
        attempts: Tries in a row without any new byte before giving up, >= 1.
        wait_s: Pause before the second try, doubled for each further one.

    Returns:
        ``target``.

    Raises:
        UserError: the address cannot be reached, refuses, or keeps breaking off;
            or the disk is full.
    """
    if not url.startswith(("http://", "https://")):
        msg = f"{url} is no address: give one that begins with https://."
        raise UserError(msg)
    with disk_errors(target), locked(target):
        failures = 0
        while not target.exists():
            before = _size(_part(target))
            try:
                _fetch_rest(url, target, progress)
            except _BrokenOffError as error:
                failures = 1 if _size(_part(target)) > before else failures + 1
                if failures >= attempts:
                    msg = (
                        f"{url} cannot be downloaded ({error}): check the network and call again; "
                        f"what has arrived ({_size(_part(target)) / 1e6:.0f} MB) is kept."
                    )
                    raise UserError(msg) from error
                time.sleep(wait_s * 2 ** (failures - 1))
    return target


def extract_zip(archive: Path, target: Path, max_bytes: int, max_files: int, progress: Progress | None = None) -> None:
    """Unpack an archive into a folder, and nothing outside it.

    Args:
        archive: A zip file.
        target: An existing folder.
        max_bytes: Most bytes that the unpacked files may take, declared or real.
        max_files: Most files that it may hold.
        progress: Called after each file with bytes done and in all.

    Raises:
        UserError: the archive is damaged, names a path outside the folder, holds
            a link, or would unpack to more than allowed.
    """
    try:
        with zipfile.ZipFile(archive) as zip_file:
            members = [member for member in zip_file.infolist() if _parts(member)]
            _check_members(archive, members, max_bytes, max_files)
            total = sum(member.file_size for member in members)
            done = 0
            for member in members:
                done += _extract_member(zip_file, member, target)
                if progress:
                    progress(done, total)
    except DAMAGE as error:
        msg = f"{archive} is a damaged archive ({error}): it has to be fetched again."
        raise UserError(msg) from error


def _fetch_rest(url: str, target: Path, progress: Progress | None) -> None:
    part, tag_file = _part(target), target.parent / f"{target.name}.part.tag"
    start = _size(part)
    tag = tag_file.read_text() if start and tag_file.exists() else ""
    # If-Range: send the rest of this very version, or the whole of a newer one.
    headers = {"Range": f"bytes={start}-", "If-Range": tag} if tag else {}
    with _request(url, headers, part) as response:
        resumes = response.status == 206
        if resumes and _range_start(response.headers.get("Content-Range")) != start:
            part.unlink()  # without it the next try asks for the whole file
            msg = "the server sent another part than the one asked for"
            raise _BrokenOffError(msg)
        length = response.headers.get("Content-Length") or ""
        done = start if resumes else 0
        total = done + int(length) if length.isdigit() else None
        tag_file.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
        with part.open("ab" if resumes else "wb") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        msg = f"broke off after {done} of {total} bytes"
        raise _BrokenOffError(msg)
    part.rename(target)
    tag_file.unlink(missing_ok=True)


def _request(url: str, headers: dict[str, str], part: Path) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "dogbreed", **headers})
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing left to send: the part is complete or of another version
            part.unlink(missing_ok=True)
        elif error.code < 500 and error.code not in (408, 429):
            msg = f"{url} answered {error.code} {error.reason}: check the address."
            raise UserError(msg) from error
        msg = f"{error.code} {error.reason}"
        raise _BrokenOffError(msg) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(getattr(error, "reason", None) or error) from error


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK_BYTES):
            yield chunk
    except http.client.IncompleteRead as error:  # a chunked answer says itself where it ends
        yield error.partial
        msg = "broke off"
        raise _BrokenOffError(msg) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(error) from error


def _range_start(content_range: str | None) -> int | None:
    """Read the first byte's position from ``bytes 100-199/200``."""
    try:
        return int((content_range or "").removeprefix("bytes ").split("-")[0])
    except ValueError:
        return None


def _part(target: Path) -> Path:
    return target.parent / f"{target.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_members(archive: Path, members: list[zipfile.ZipInfo], max_bytes: int, max_files: int) -> None:
    for member in members:
        parts = _parts(member)
        if parts[0] == "/" or ".." in parts or ":" in parts[0] or any(len(part.encode()) > 255 for part in parts):
            msg = f"{archive} names a path outside its folder or none at all ({member.filename}): it is not unpacked."
            raise UserError(msg)
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if is_link:
            msg = f"{archive} holds a link ({member.filename}): it is not unpacked."
            raise UserError(msg)
    total = sum(member.file_size for member in members)
    if total > max_bytes or len(members) > max_files:
        msg = (
            f"{archive} would unpack to {total / 1e9:.1f} GB in {len(members)} files, more than the "
            f"{max_bytes / 1e9:.1f} GB and {max_files} files expected: it is not unpacked."
        )
        raise UserError(msg)


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return a member's path in parts, `/` first if it is absolute; none for the folder itself."""
    return PurePosixPath(member.filename.replace("\\", "/")).parts


def _extract_member(zip_file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> int:
    path = target.joinpath(*_parts(member))
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile stops at the declared size and checks the CRC: no member can grow beyond what was summed up.
    with zip_file.open(member) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK_BYTES)
    return member.file_size
