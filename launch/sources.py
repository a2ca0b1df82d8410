"""Which files of a folder are source: what git would take, or, without git, all but what is made again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dogbreed.errors import UserError

# Without git's word: what tools make beside the code. Everything hidden stays behind, too.
_LEFT_OUT_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages", "runs"})
_LEFT_OUT_SUFFIXES = (".pyc", ".pyo", ".so", ".egg-info", ".log")
GIT_TIMEOUT_S = 30


def list_sources(source: Path) -> dict[str, Path]:
    """List the files of user code.

    Args:
        source: A folder, or one file.

    Returns:
        Path relative to the folder, with ``/`` (empty for a file that was given itself), to the file; sorted.

    Raises:
        UserError: there is nothing in it.
    """
    if source.is_file():
        return {"": source}
    names = _ask_git(source)
    if names is None:
        names = _walk(source)
    found = {name: source / name for name in sorted(names) if not _is_byte_code(name) and (source / name).is_file()}
    if not found:
        msg = f"launch.code={source} holds no file that git does not ignore: give the folder that holds your code."
        raise UserError(msg)
    return found


def list_checkout(folder: Path) -> list[str]:
    """List the files of one of our own folders: what git takes in a checkout, all of an installed package.

    A package that is installed into some other checkout is ignored by that one's git, which therefore is not asked.
    """
    names = _ask_git(folder) if (folder.parent / ".git").exists() else None
    return sorted(
        name
        for name in (_walk(folder) if names is None else names)
        if not _is_byte_code(name) and (folder / name).is_file()
    )


def _ask_git(folder: Path) -> list[str] | None:
    """List what git tracks or would, below a folder; None where there is no repository or no git."""
    ask = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(ask, capture_output=True, timeout=GIT_TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    names = [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]
    # A submodule and a link to a folder are one entry each: look into them by ourselves.
    inner = [name for name in names if (folder / name).is_dir()]
    return [name for name in names if name not in inner] + [
        f"{name}/{below}" for name in inner for below in _walk(folder / name)
    ]


def _walk(folder: Path) -> list[str]:
    found = []
    for current, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _LEFT_OUT_FOLDERS]
        folders[:] = [name for name in folders if not name.endswith(_LEFT_OUT_SUFFIXES)]
        relative = Path(current).relative_to(folder)
        found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
    return [name for name in found if not name.endswith(_LEFT_OUT_SUFFIXES)]


def _is_byte_code(name: str) -> bool:
    return name.endswith((".pyc", ".pyo")) or "__pycache__" in name.split("/")
