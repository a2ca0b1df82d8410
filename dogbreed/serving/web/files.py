"""Files that are served as they are: the page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class File:
    """A file that is served as it is.

    Args:
        body: Its bytes.
        content_type: Of the header.
    """

    body: bytes
    content_type: str


def page_files() -> dict[str, File]:
    """Read the page: its files by path, ``index.html`` as ``/``."""
    folder = resources.files("dogbreed.serving.web") / "page"
    if not folder.is_dir():
        return {}
    files = {}
    for item in folder.iterdir():
        content_type = _PAGE_TYPES.get(Path(item.name).suffix)
        if content_type:
            path = "/" if item.name == "index.html" else f"/{item.name}"
            files[path] = File(item.read_bytes(), f"{content_type}; charset=utf-8")
    return files
