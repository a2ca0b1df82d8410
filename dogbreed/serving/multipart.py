"""Bodies of forms: each file part is a picture.

Read here, by searching for the boundary in a body that is there as a whole (RFC 2046, section 5.1.1; RFC 7578), and
not by python-multipart, which is made for streams and goes through hostile bodies byte by byte. Tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dogbreed.serving.bodies import Content, check_count
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits

_MAX_FIELDS = 32
_MAX_OPTION_BYTES = 100
_MAX_HEADER_BYTES = 8192
_MAX_BOUNDARY_CHARS = 256  # RFC 2046 has 70
# ;name=value or ;name="value", in which a backslash takes a quotation mark's meaning away
_PARAMETER = re.compile(r';\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.ASCII)


def read_multipart(body: bytes, content_type: str, limits: Limits) -> Content:
    """Read the file parts of a form as pictures, and its fields ``top_k`` and ``explain``.

    One file in a field called ``image`` is a picture sent as such; any other form is a list, whatever its length.

    Raises:
        RequestError: 400 or 413.
    """
    boundary = _parameters(content_type).get("boundary", "")
    if not boundary or not boundary.isascii() or len(boundary) > _MAX_BOUNDARY_CHARS:
        raise RequestError(400, "Content-Type multipart/form-data names no boundary.")
    pictures: list[bytes] = []
    names: list[str] = []
    options: dict[str, Any] = {}
    for header, start, end in _parts(body, boundary.encode(), limits.max_pictures + _MAX_FIELDS):
        said = _disposition(header)
        name = said.get("name", "")
        file_name = said.get("filename", said.get("filename*"))
        if file_name is not None:
            if end > start or file_name:  # a browser sends a field that nobody has filled, too
                check_count(len(pictures) + 1, limits)
                pictures.append(body[start:end])
                names.append(name)
        elif name in ("top_k", "explain"):
            options[name] = body[start : min(end, start + _MAX_OPTION_BYTES)].decode("ascii", errors="replace").strip()
    if not pictures:
        raise RequestError(400, "The form has no file: send one as curl -F image=@photo.jpg does.")
    return Content(tuple(pictures), options, is_single=names == ["image"])


def _parts(body: bytes, boundary: bytes, max_parts: int) -> Iterator[tuple[str, int, int]]:
    """Yield each part's header lines, and where its data begins and ends."""
    marker = b"\r\n--" + boundary
    place = -2 if body.startswith(marker[2:]) else body.find(marker)
    if place == -1:
        raise RequestError(400, "The body is not the multipart form that its Content-Type announces.")
    for number in range(max_parts + 1):
        after = place + len(marker)
        if body.startswith(b"--", after):
            return
        if number == max_parts:
            raise RequestError(413, f"The form has more than {max_parts} parts.")
        line_end = body.find(b"\r\n", after, after + _MAX_HEADER_BYTES)
        blank = body.find(b"\r\n\r\n", line_end, line_end + _MAX_HEADER_BYTES) if line_end >= 0 else -1
        if blank < 0 or body[after:line_end].strip(b" \t"):
            raise RequestError(400, f"Part {number + 1} of the multipart form has no header that could be read.")
        place = body.find(marker, blank + 2)
        if place < 0:
            raise RequestError(400, "The multipart form breaks off before its end.")
        start = blank + 4
        yield body[line_end:blank].decode("utf-8", errors="replace"), start, max(start, place)


def _disposition(header: str) -> dict[str, str]:
    for line in header.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return _parameters(value)
    return {}


def _parameters(value: str) -> dict[str, str]:
    found = _PARAMETER.findall(value)
    return {name.lower(): (plain or re.sub(r"\\(.)", r"\1", quoted)) for name, quoted, plain in found}
