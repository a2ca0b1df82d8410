"""What a job without a network brings along; pip is real, its index a folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dogbreed.errors import UserError
from launch import wheelhouse
from launch.wheelhouse import build_wheelhouse, closure, pretrained_folder, weights_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make libraries known as installed: ``installed("name", "1.0", "needs>=1")``."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install(name, version, *needs):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}")

    return install


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index in a folder: ``index("name", "1.0", tag)`` adds a wheel."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def add(name, version, tag="py3-none-any"):
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            wheel.writestr(f"{info}/RECORD", "")
            wheel.writestr(f"{name}.py", f"version = {version!r}\n")

    return add


def test_all_that_is_needed_but_what_the_container_has(installed):
    installed("alpha", "1.0", "beta[fast]>=2", "torch>=2", "delta; python_version < '3.12'", "docs; extra == 'docs'")
    installed("beta", "2.5", "gamma; extra == 'fast'", "alpha", "winonly; sys_platform == 'win32'")
    installed("gamma", "3.0+local", "nvidia-cudnn-cu13", "numpy")

    assert closure(["alpha>=1", "torch"]) == ["alpha==1.0", "beta==2.5", "gamma==3.0"]


def test_what_is_not_installed_here(installed):
    installed("alpha", "1.0", "beta>=2")
    installed("beta", "1.5")
    with pytest.raises(UserError, match=r"alpha needs beta>=2, but 1.5 is installed here: pip install"):
        closure(["alpha"])
    with pytest.raises(
        UserError, match=r"nowhere \(launch.requirements\) is not installed here: pip install 'nowhere>1'"
    ):
        closure(["nowhere>1"])
    with pytest.raises(UserError, match="give libraries by name"):
        closure(["./wheel.whl"])


def test_our_own_closure_is_free_of_torch():
    names = {pin.split("==")[0] for pin in closure(wheelhouse.core_dependencies())}
    assert {"hydra-core", "antlr4-python3-runtime", "timm", "torchmetrics", "aiohttp"} <= names
    assert not names & {"torch", "torchvision", "numpy", "triton"}
    assert not [name for name in names if name.startswith("nvidia-") and name != "nvidia-ml-py"]


def test_wheels_are_fetched_once_for_the_container(installed, index, own_cache, monkeypatch):
    monkeypatch.setattr(wheelhouse, "core_dependencies", lambda: ["alpha", "beta"])
    installed("alpha", "1.0")
    installed("beta", "2.0")
    index("alpha", "1.0")
    index("alpha", "1.1")
    index("beta", "2.0", "cp312-cp312-manylinux_2_28_x86_64")
    index("beta", "2.0", "cp311-cp311-manylinux_2_28_x86_64")

    folder = build_wheelhouse()

    names = sorted(path.name for path in folder.iterdir())
    assert names == ["alpha-1.0-py3-none-any.whl", "beta-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"]
    monkeypatch.setenv("PIP_FIND_LINKS", os.devnull)
    assert build_wheelhouse() == folder


def test_the_wheels_install_without_a_network(installed, index, own_cache, monkeypatch, tmp_path):
    monkeypatch.setattr(wheelhouse, "core_dependencies", lambda: ["alpha"])
    installed("alpha", "1.0")
    index("alpha", "1.0")
    folder = build_wheelhouse()
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "alpha==1.0"]
    subprocess.run(command, check=True, env=environment)
    assert (target / "alpha.py").read_text() == "version = '1.0'\n"


def test_a_library_without_a_wheel_for_the_container(installed, index, own_cache, monkeypatch):
    monkeypatch.setattr(wheelhouse, "core_dependencies", lambda: ["alpha", "beta"])
    installed("alpha", "1.0")
    installed("beta", "2.0")
    index("alpha", "1.0")
    index("beta", "2.0", "cp312-cp312-win_amd64")
    with pytest.raises(UserError, match=r"beta==2.0 has no wheel for the container \(Python 3.12, Linux x86_64\)"):
        build_wheelhouse()
    assert not [path for path in (own_cache / "launch" / "wheels").iterdir() if path.is_dir()]


def hub_file(home: Path) -> Path:
    """A file in the hub's cache as its client lays it out: a link to a blob."""
    repository = home / "hub" / "models--timm--resnet18.a1_in1k"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "abc").write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    return snapshot / "model.safetensors"


def test_the_hubs_weights_serve_as_a_home_without_links(own_cache, store, tmp_path):
    from launch.upload import upload_folder

    folder = weights_folder(hub_file(tmp_path / "home"))
    uploaded = upload_folder(store, folder, "pretrained")
    for found in store.list(f"{uploaded.prefix}/"):
        store.get_file(found.key, tmp_path / "channel" / found.key[len(uploaded.prefix) + 1 :])

    code = (
        "from huggingface_hub import hf_hub_download\n"
        "print(open(hf_hub_download('timm/resnet18.a1_in1k', 'model.safetensors')).read())"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "channel"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "weights\n", done.stderr


def test_weights_from_elsewhere_lie_as_in_our_own_cache(own_cache, tmp_path):
    file = tmp_path / "resnet18-f37072fd.pth"
    file.write_bytes(b"weights")
    folder = weights_folder(file)
    assert (folder / "weights" / "resnet18-f37072fd.pth").read_bytes() == b"weights"
    assert weights_folder(file) == folder


@pytest.mark.slow
def test_another_process_asks_timm(own_cache, tmp_path):
    hub_file(tmp_path / "home")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    folder = pretrained_folder("resnet18.a1_in1k", environment)
    assert (
        folder / "hub/models--timm--resnet18.a1_in1k/snapshots" / COMMIT / "model.safetensors"
    ).read_bytes() == b"weights"
    with pytest.raises(UserError, match="pretrained weights of resnet50.* cannot be fetched .*HF_HUB_OFFLINE"):
        pretrained_folder("resnet50.a1_in1k", environment)
