"""What a job without a network brings along: wheels of its libraries, and the pretrained weights of its architecture.

Both become folders in the user's cache, made once, that travel as channels. The toolkit installs from the one when the
job's environment says ``PIP_NO_INDEX=1`` and ``PIP_FIND_LINKS=/opt/ml/input/data/wheels``; `launch.container` finds the
other.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dogbreed.errors import UserError
from dogbreed.files import make_folder_once, user_cache_dir
from launch.requirements import core_dependencies, is_in_container, normal_name

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# The container's: https://github.com/aws/deep-learning-containers, docker/pytorch/2.13 (Amazon Linux 2023, glibc 2.34).
PYTHON = "3.12"
MACHINE = "x86_64"
_GLIBC_MINOR = 34


def build_wheelhouse(requirements: Sequence[str] = ()) -> Path:
    """Collect the wheels of our libraries and of all that they need, as they are installed here, for the container.

    What the container has (torch and its family) is left out. Built once for each set of versions.

    Args:
        requirements: More libraries (``launch.requirements``); they must be installed here, too.

    Returns:
        A folder of wheels, for Linux x86_64 and `PYTHON`.

    Raises:
        UserError: a library is not installed here in the version asked for, has no wheel, or cannot be fetched.
    """
    pins = closure([*core_dependencies(), *requirements])
    key = hashlib.sha256("\n".join([PYTHON, MACHINE, *pins]).encode()).hexdigest()
    folder = user_cache_dir() / "launch" / "wheels" / key[:32]
    return make_folder_once(folder, lambda unfinished: _fetch(pins, unfinished))


def closure(requirements: Iterable[str]) -> list[str]:
    """Return the libraries that these come to need in the container, as they are installed here.

    Args:
        requirements: Lines of a requirements.txt, with names.

    Returns:
        ``name==version``, sorted, without what the container has.

    Raises:
        UserError: one is not installed here, or not in the version asked for.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    ahead: list[tuple[Requirement, str]] = []
    for line in requirements:
        try:
            ahead.append((Requirement(line.partition(" #")[0]), "launch.requirements"))
        except InvalidRequirement as error:
            msg = f"launch.requirements={line}: under launch.network_isolation give libraries by name."
            raise UserError(msg) from error
    ahead = [(wanted, of) for wanted, of in ahead if _applies(wanted, "")]
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while ahead:
        wanted, of = ahead.pop()
        name = normal_name(wanted.name)
        if is_in_container(name):
            continue
        version, needs = _installed(wanted, of)
        found[name] = f"{name}=={version}"
        for extra in {"", *wanted.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                ahead += [(need, name) for need in needs if _applies(need, extra)]
    return sorted(found.values())


def _applies(requirement: Requirement, extra: str) -> bool:
    """Say whether a requirement holds in the container."""
    marker = requirement.marker
    there = {
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": MACHINE,
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": extra,
    }
    return marker is None or bool(marker.evaluate(there))


def _installed(wanted: Requirement, of: str) -> tuple[str, list[Requirement]]:
    from packaging.requirements import Requirement

    try:
        found = metadata.distribution(wanted.name)
    except metadata.PackageNotFoundError as error:
        msg = (
            f"{wanted.name} ({of}) is not installed here: pip install '{wanted}'; a job without a network gets the "
            "versions that are installed here."
        )
        raise UserError(msg) from error
    if not wanted.specifier.contains(found.version, prereleases=True):
        msg = f"{of} needs {wanted}, but {found.version} is installed here: pip install '{wanted}'."
        raise UserError(msg)
    return found.version.partition("+")[0], [Requirement(line) for line in found.requires or ()]


def _fetch(pins: Sequence[str], folder: Path) -> None:
    """Download wheels; what exists as source only (Hydra's parser) is built, if that gives a wheel for any machine."""
    platforms = [f"manylinux_2_{minor}_{MACHINE}" for minor in range(_GLIBC_MINOR, 4, -1)]
    platforms += [f"{name}_{MACHINE}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    there = ["--python-version", PYTHON, "--implementation", "cp", *(f"--platform={name}" for name in platforms)]
    download = ["download", "--only-binary=:all:", *there, "--dest", str(folder)]
    left, from_source = list(pins), []
    with tqdm(total=len(pins), desc="wheels for the job", unit="wheel", disable=None, leave=False) as bar:
        while True:
            bar.reset(len(pins))
            problem = _pip([*download, *left], on_line=lambda line: bar.update(line.startswith("Collecting")))
            missing = re.search(r"No matching distribution found for (\S+)", problem)
            pin = next((pin for pin in left if missing and pin == missing[1].rstrip(".")), None)
            if pin is None:
                break
            left.remove(pin)
            from_source.append(pin)
        if problem:
            msg = f"The wheels for the job cannot be fetched ({problem}): check the network, or pip's settings."
            raise UserError(msg)
        for pin in from_source:
            _build(pin, folder)


def _build(pin: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as built:
        problem = _pip(["wheel", "--wheel-dir", built, pin], on_line=None)
        wheels = [wheel for wheel in Path(built).glob("*.whl") if wheel.stem.endswith("-none-any")]
        if problem or not wheels:
            msg = (
                f"{pin} has no wheel for the container (Python {PYTHON}, Linux {MACHINE}) and none can be built here"
                f"{f' ({problem})' if problem else ''}: choose another version, or do without launch.network_isolation."
            )
            raise UserError(msg)
        for wheel in wheels:
            (folder / wheel.name).write_bytes(wheel.read_bytes())


def _pip(arguments: Sequence[str], on_line: Callable[[str], object] | None) -> str:
    """Run pip without resolving; return what went wrong, empty if nothing did."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", arguments[0], "--no-deps"]
    with (
        subprocess.Popen(  # noqa: S603
            [*command, *arguments[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process
    ):
        assert process.stdout is not None
        problems = []
        for line in process.stdout:
            if on_line:
                on_line(line)
            if line.startswith("ERROR:") or "No module named pip" in line:
                problems.append(line.removeprefix("ERROR:").strip())
    if process.returncode == 0:
        return ""
    return problems[-1] if problems else f"pip ended with {process.returncode}"


def weights_folder(file: Path) -> Path:
    """Lay out cached weights as a job finds them: the hub's as its cache folder, others as ours.

    Args:
        file: In the hub's cache, ``…/models--OWNER--NAME/snapshots/REVISION/FILE``, or anywhere else.

    Returns:
        A folder with ``hub/models--OWNER--NAME/{refs/main, snapshots/REVISION/FILE}``, which serves as ``HF_HOME``, or
        with ``weights/FILE``. The file is a link to the cached one, which `launch.upload` follows.
    """
    snapshot = file.parent
    repository = snapshot.parent.parent
    is_hubs = snapshot.parent.name == "snapshots" and repository.name.startswith("models--")
    key = hashlib.sha256(f"{file.absolute()} {file.resolve()}".encode()).hexdigest()[:16]
    folder = user_cache_dir() / "launch" / "pretrained" / f"{repository.name if is_hubs else file.stem}-{key}"

    def fill(unfinished: Path) -> None:
        place = unfinished / "weights"
        if is_hubs:
            model = unfinished / "hub" / repository.name
            place = model / "snapshots" / snapshot.name
            (model / "refs").mkdir(parents=True)
            (model / "refs" / "main").write_text(snapshot.name, encoding="utf-8")
        place.mkdir(parents=True)
        (place / file.name).symlink_to(file.resolve())

    return make_folder_once(folder, fill)


def pretrained_folder(architecture: str, environment: Mapping[str, str] | None = None) -> Path:
    """Find or fetch an architecture's pretrained weights, and lay them out for a job without a network.

    Which weights belong to a name only timm knows, and timm imports torch: another process asks it, which is why the
    launcher itself stays quick.

    Args:
        architecture: A timm name.
        environment: Of that process; None for ours.

    Returns:
        As `weights_folder`.

    Raises:
        UserError: there are no pretrained weights, or they cannot be fetched.
    """
    ask = (
        "import sys\n"
        "from dogbreed.errors import UserError\n"
        "from dogbreed.nets.backbone import fetch_pretrained\n"
        "try:\n"
        "    print(fetch_pretrained(sys.argv[1]).absolute())\n"
        "except UserError as error:\n"
        "    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", ask, architecture]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        raise UserError(lines[-1])
    return weights_folder(Path(done.stdout.splitlines()[-1]))
