"""Environments for what does not fit beside the rest: made once, a few MB each.

They see the packages of the environment that makes them through a ``.pth`` file, and have others in front of them.
(A virtual environment that is made from a virtual environment does not see its packages.)
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from dogbreed.errors import UserError
from dogbreed.files import make_folder_once


def side_environment(
    parent: Path,
    packages: Sequence[str],
    *,
    more: Sequence[str] = (),
    finish: Callable[[Path], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Path:
    """Make an environment with these packages in front of ours, unless it is there.

    Args:
        parent: Folder of such environments.
        packages: ``name==version``, all that is needed: nothing comes along, and nothing is compiled.
        more: Names what ``finish`` adds.
        finish: Adds what no wheel brings; gets the folder of packages.
        on_wait: Called once when another process is making it.

    Returns:
        Its folder, for `python_of` and `packages_of`.

    Raises:
        UserError: the packages cannot be had, or the disk is full.
    """
    about = (sys.version, sys.executable, our_packages(), *packages, *more)
    key = hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]

    def fill(folder: Path) -> None:
        make_environment(folder, [our_packages()])
        if packages:
            run_pip("install", "--no-deps", "--only-binary=:all:", *packages, python=python_of(folder))
        if finish:
            finish(packages_of(folder))

    return make_folder_once(parent / f"side-{key}", fill, on_wait)


def make_environment(folder: Path, shown: Sequence[str | Path]) -> Path:
    """Make an empty virtual environment that sees other folders of packages, in this order; return its interpreter."""
    venv.create(folder, symlinks=True)
    lines = "".join(f"{place}\n" for place in shown)
    (packages_of(folder) / "shown.pth").write_text(lines, encoding="utf-8")
    return python_of(folder)


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def packages_of(folder: Path) -> Path:
    """Return the folder of packages of an environment."""
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))


def our_packages() -> str:
    """Return the folder of packages of the environment that runs us."""
    return sysconfig.get_path("purelib")


def run_pip(*words: str | Path, python: Path | None = None) -> None:
    """Call our pip, for another interpreter if one is given.

    Raises:
        UserError: there is no pip, or it fails.
    """
    if importlib.util.find_spec("pip") is None:
        msg = f"{sys.executable} has no pip, which a side environment is made with: python -m ensurepip."
        raise UserError(msg)
    place = ["--python", str(python)] if python else []
    command = [sys.executable, "-m", "pip", *place, *map(str, words), "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our words
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        reason = lines[0].removeprefix("ERROR: ").strip() if lines else f"code {done.returncode}"
        wanted = " ".join(str(word) for word in words if "==" in str(word))
        msg = (
            f"pip cannot get {wanted} ({reason}): see that this machine reaches its package index (pip config list) "
            "and call again."
        )
        raise UserError(msg)
