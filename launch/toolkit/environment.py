"""The side environment that holds Amazon's training toolkit, in the version of the container that jobs run in."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from dogbreed.errors import UserError
from dogbreed.files import replacing_folder, user_cache_dir
from launch.toolkit.side_environment import packages_of, python_of, run_pip, side_environment

# Where a source archive keeps the package. Wheels of them exist nowhere, and building one would need a compiler.
_SOURCES = {
    "sagemaker-training": "src/sagemaker_training",
    "sagemaker-pytorch-training": "src/sagemaker_pytorch_container",
    "inotify_simple": "inotify_simple",
}

# The toolkit imports its C extension to name its file to Open MPI, which we never use.
_GETHOSTNAME = '"""Stands in for a C library that only MPI is told of."""\n'


def toolkit_python(say: Callable[[str], None], cache: Path | None = None) -> Path:
    """Return the interpreter of an environment that has the toolkit and sees our packages; made if it is not there.

    Args:
        say: Told what is being done, where that takes time.
        cache: Folder of such environments; None is the one in the user's cache.

    Raises:
        UserError: this is no Linux, the toolkit cannot be downloaded, or the disk is full.
    """
    if not sys.platform.startswith("linux"):
        msg = "Amazon's training toolkit runs on Linux only: launch=local does not work here; use a machine with Linux."
        raise UserError(msg)
    wheels, sources = _requirements()

    def finish(packages: Path) -> None:
        for requirement in sources:
            say(f"toolkit {requirement} is being unpacked …")
            _unpack(requirement, packages)
        (packages / "gethostname.py").write_text(_GETHOSTNAME, encoding="utf-8")

    parent = cache or user_cache_dir() / "toolkit"
    wanted = [requirement for requirement in wheels if not _is_here(requirement)]
    if not parent.is_dir() or not any(parent.glob("side-*/bin")):
        say("toolkit Amazon's training toolkit is being fetched, once; that takes a minute …")
    waiting = "toolkit another process is fetching it; waiting …"
    folder = side_environment(parent, wanted, more=sources, finish=finish, on_wait=lambda: say(waiting))
    return python_of(folder)


def toolkit_packages(python: Path) -> Path:
    """Return the folder of packages of the environment that an interpreter belongs to."""
    return packages_of(python.parent.parent)


def pip_settings(sourcedir: Path) -> dict[str, str]:
    """Return variables that spare pip the search through what our libraries need, where all of them are here.

    Args:
        sourcedir: The bundle, whose requirements.txt the toolkit has pip install.
    """
    with tarfile.open(sourcedir) as stream:
        try:
            file = stream.extractfile("requirements.txt")
        except KeyError:
            return {}
        lines = file.read().decode().splitlines() if file else []
    wanted = [text for line in lines if (text := line.partition("#")[0].strip())]
    return {"PIP_NO_DEPS": "1"} if all(map(_is_met, wanted)) else {}


def _is_met(line: str) -> bool:
    """Say whether our own environment has what a line of a requirements.txt asks for."""
    try:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            return True
        return requirement.url is None and metadata.version(requirement.name) in requirement.specifier
    except (InvalidRequirement, metadata.PackageNotFoundError):
        return False


def _requirements() -> tuple[list[str], list[str]]:
    """Read what is needed: what comes as wheels, and what only as source archives."""
    text = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    needed = [line for line in lines if line]
    sources = [line for line in needed if line.partition("==")[0] in _SOURCES]
    return [line for line in needed if line not in sources], sources


def _is_here(requirement: str) -> bool:
    """Say whether our own environment has a package, in whatever version: the toolkit is not particular."""
    try:
        metadata.version(requirement.partition("==")[0])
    except metadata.PackageNotFoundError:
        return False
    return True


def _unpack(requirement: str, packages: Path) -> None:
    """Put the Python files of a source archive where the environment finds them."""
    name = requirement.partition("==")[0]
    with tempfile.TemporaryDirectory() as folder:
        run_pip("download", "--no-deps", "--no-binary=:all:", "--dest", folder, requirement)
        archive = next(Path(folder).glob("*.tar.gz"))
        with tarfile.open(archive) as stream:
            stream.extractall(folder, filter="data")
        source = archive.with_suffix("").with_suffix("") / _SOURCES[name]
        if not source.is_dir():
            top = next(path for path in Path(folder).iterdir() if path.is_dir())
            source = top / _SOURCES[name]
        with replacing_folder(packages / source.name) as target:
            shutil.copytree(source, target, dirs_exist_ok=True)
