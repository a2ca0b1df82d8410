"""Which libraries a job installs: ours as they are installed here, without what the container has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import dogbreed
from dogbreed.errors import UserError

# Torch's family is Amazon's own build in the container, for its CUDA; NumPy belongs to it.
# https://github.com/aws/deep-learning-containers, docker/pytorch/2.13
_CONTAINER_HAS = frozenset({"torch", "torchvision", "torchaudio", "triton", "numpy"})
# An instance without a GPU needs no NVIDIA library but this one, which is only a binding.
_PURE_BINDING = "nvidia-ml-py"


def normal_name(name: str) -> str:
    """Return a distribution's name as registries compare them.

    Example:
        >>> normal_name("PyTorch_Lightning")
        'pytorch-lightning'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def is_in_container(name: str) -> bool:
    """Say whether a library belongs to the container and must not be installed over.

    Example:
        >>> [is_in_container(name) for name in ("torch", "nvidia-cudnn-cu13", "timm", "nvidia-ml-py")]
        [True, True, False, False]
    """
    name = normal_name(name)
    is_cuda = name.startswith(("nvidia-", "cuda-")) and name != _PURE_BINDING
    return name in _CONTAINER_HAS or is_cuda


def core_pins() -> dict[str, str]:
    """Return our own dependencies as they are installed here: normal name to ``name==version``, sorted.

    Raises:
        UserError: one is not installed.
    """
    pins = {}
    for line in core_dependencies():
        name = requirement_name(line)
        if is_in_container(name):
            continue
        try:
            # A build's own mark (1.2+cpu) is on no registry.
            version = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError as error:
            msg = f"{name}, which dogbreed needs, is not installed: pip install {name}."
            raise UserError(msg) from error
        pins[normal_name(name)] = f"{normal_name(name)}=={version}"
    return dict(sorted(pins.items()))


def write_requirements(extra: Sequence[str] = ()) -> str:
    """Write the requirements.txt of a job.

    Args:
        extra: Lines of the user's (``launch.requirements``); one that names a library of ours takes its place.

    Returns:
        The file's text.

    Raises:
        UserError: a line names what belongs to the container, or a file or option that a job cannot follow.
    """
    pins = core_pins()
    more = []
    for line in extra:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name = _checked_name(stripped)
        pins.pop(name, None)
        more.append(stripped)
    return "\n".join([*pins.values(), *more]) + "\n"


def requirement_name(line: str) -> str:
    """Return the name that a requirement begins with; empty for an address or an option.

    Example:
        >>> requirement_name("optuna>=4.5; python_version < '3.14'"), requirement_name("./wheel.whl")
        ('optuna', '')
    """
    found = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:$|[\[<>=!~;@(#])", line)
    return found[1] if found else ""


def _checked_name(line: str) -> str:
    """Return the library's name, empty where the line has none; a sentence if a job could not follow it."""
    name = normal_name(requirement_name(line))
    given = f"launch.requirements={line}"
    if name and is_in_container(name):
        msg = f"{given}: the container has its own {name}; another one comes with launch.image_version or launch.image."
        raise UserError(msg)
    if name or "://" in line or line == "--pre":
        return name
    if line.startswith(("-", ".", "/", "~")) or Path(line).exists():
        msg = f"{given} lies on this machine only: give libraries by name, and code of yours in launch.code."
        raise UserError(msg)
    msg = f"{given} is no requirement: write it as in a requirements.txt, for instance optuna>=4.5."
    raise UserError(msg)


def core_dependencies() -> list[str]:
    """Return our own dependencies as declared: by the checkout that runs, else by the installed package."""
    project = Path(dogbreed.__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        declared = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if declared.get("name") == "dogbreed":
            return list(declared["dependencies"])
    return [line for line in metadata.requires("dogbreed") or () if "extra ==" not in line]
