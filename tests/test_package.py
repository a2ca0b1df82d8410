"""The package as others get it: cheap to import, whole as a wheel."""

import os
import re
import site
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from helpers import QUICK
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dogbreed

TOP = Path(__file__).resolve().parents[1]


def test_importing_dogbreed_imports_nothing_large():
    code = "import sys, dogbreed; print(*{name.split('.')[0] for name in sys.modules})"
    modules = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert not modules & {"torch", "hydra", "omegaconf", "lightning", "timm", "numpy", "PIL", "yaml"}


def test_public_names():
    assert {"ImageClassifier", "ImageDataModule", "compose", "fit_run", "load_model"} <= set(dogbreed.__all__)
    for name in dogbreed.__all__:
        assert getattr(dogbreed, name).__doc__
    assert set(dogbreed.__all__) <= set(dir(dogbreed))
    assert re.fullmatch(r"\d+\.\d+\.\d+", dogbreed.__version__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dogbreed.nothing


def test_every_library_that_we_draw_in_is_pinned():
    """A library without a pin would be another one tomorrow; what torch pins itself (CUDA, Triton) is left to it."""
    pinned = {canonicalize_name(line.split("==")[0]) for line in (TOP / "constraints.txt").read_text().splitlines()}
    seen: set[tuple[str, str]] = set()
    queue = [("dogbreed", extra) for extra in ("", "dev", "sweep", "serve", "sagemaker")]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(canonicalize_name(requirement.name), more) for more in ("", *requirement.extras)]
    names = {name for name, _ in seen if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert len(names) > 50
    assert names - {"dogbreed"} <= pinned


# -- the wheel ---------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(TOP)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_python(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel in it; its libraries are this environment's, which take minutes to install."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    where = "import site; print(site.getsitepackages()[0])"
    packages = Path(subprocess.run([python, "-c", where], capture_output=True, text=True).stdout.strip())
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run(pip, check=True)
    return python


def test_the_wheel_holds_the_library_and_its_configuration_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packed = {name for name in names if ".dist-info/" not in name}
    folders = [TOP / folder for folder in ("dogbreed", "conf", "launch", "plugins")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    rooted = {path.relative_to(TOP).as_posix() for path in files if "__pycache__" not in path.parts}
    expected = {f"dogbreed/{name}" if name.startswith("conf/") else name.removeprefix("plugins/") for name in rooted}
    assert packed == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_trains_and_predicts_elsewhere(clean_python, tree, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words):
        done = subprocess.run([str(word) for word in words], cwd=tmp_path, capture_output=True, text=True,
                              env=environment)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = clean_python
    here = run(python, "-c", "import dogbreed; print(dogbreed.__file__, dogbreed.conf_dir())").split()
    assert all(Path(path).is_relative_to(clean_python.parents[1]) for path in here)
    assert "resnet18, resnet34, resnet50" in run(python.parent / "dogbreed-train", "--help")
    run(python, "-m", "dogbreed.train", *QUICK, f"data.root={tree}", "hydra.run.dir=run")
    assert "%" in run(python.parent / "dogbreed-predict", "run", tree / "test" / "red")


def test_hydra_finds_the_launcher_in_the_wheel(clean_python, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [clean_python, "-m", "dogbreed.train", "-m", "hydra/launcher=sagemaker", "seed=1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "hydra/launcher=sagemaker ships every job, and launch is not set" in done.stderr
