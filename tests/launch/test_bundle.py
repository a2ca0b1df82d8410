"""The source archive: the same content is the same archive, nothing is missing, nothing else is in it."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import dogbreed
from dogbreed.errors import UserError
from launch import bundle as bundle_module
from launch.bundle import build_bundle
from launch.requirements import core_pins, is_in_container

TOP = Path(dogbreed.__file__).resolve().parent.parent


def unpack(bundle, folder: Path) -> Path:
    with tarfile.open(bundle.path, "r:gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x", *arguments], check=True)


def checkout(folder: Path) -> Path:
    """Copy what git would take of this checkout, without its history."""
    names = subprocess.run(
        [
            "git",
            "-C",
            str(TOP),
            "ls-files",
            "-coz",
            "--exclude-standard",
            "dogbreed",
            "conf",
            "launch",
            "pyproject.toml",
        ],
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in names.split("\0"):
        if name and (TOP / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((TOP / name).read_bytes())
    return folder


def build_in(folder: Path, cache: Path, python: str = sys.executable) -> dict:
    """Build a bundle with the package that lies in a folder, in a process of its own."""
    code = (
        "import json\nfrom launch.bundle import build_bundle\nb = build_bundle()\n"
        "print(json.dumps([b.sha256, str(b.path), b.revision, b.is_dirty, list(b.files)]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder), "DOGBREED_CACHE": str(cache)}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(zip(("sha256", "path", "revision", "is_dirty", "files"), json.loads(done.stdout), strict=True))


def test_it_holds_what_a_job_needs_and_nothing_else(own_cache, tmp_path):
    bundle = build_bundle()
    inside = unpack(bundle, tmp_path / "code")

    tops = {path.name for path in inside.iterdir()}
    assert tops == {"sm_entry.py", "requirements.txt", "bundle.json", "dogbreed", "conf", "launch", "hydra_plugins"}
    assert {path.name for path in (inside / "hydra_plugins").iterdir()} == {"dogbreed_optuna"}
    assert {"dogbreed/train.py", "conf/train.yaml", "conf/model/resnet50.yaml", "launch/__init__.py"} <= set(
        bundle.files
    )
    assert not [name for name in bundle.files if name.startswith(("launch/aws", "launch/standin", "dogbreed/conf/"))]
    assert not [name for name in bundle.files if "__pycache__" in name or name.endswith(".pyc")]
    assert bundle.num_bytes == bundle.path.stat().st_size < 1_000_000
    with tarfile.open(bundle.path) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(bundle.files)
    assert {(m.mode, m.uid, m.gid, m.uname, m.mtime) for m in members} == {(0o644, 0, 0, "", 315_532_800)}
    record = json.loads((inside / "bundle.json").read_text())
    for name, digest in record["files"].items():
        assert hashlib.sha256((inside / name).read_bytes()).hexdigest() == digest
    assert {*record["files"], "bundle.json"} == set(bundle.files)
    compile((inside / "sm_entry.py").read_text(), "sm_entry.py", "exec")


def test_what_runs_in_a_job_imports_nothing_that_is_not_there(own_cache, tmp_path):
    inside = unpack(build_bundle(), tmp_path / "code")
    modules = [path.relative_to(inside).with_suffix("") for path in (inside / "launch").rglob("*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in modules if path.name != "__main__"]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(importlib.__name__)"
    environment = {**os.environ, "PYTHONPATH": str(inside)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "dogbreed.config", *names],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_content_is_the_same_archive(own_cache, tmp_path, monkeypatch):
    first = build_bundle()
    before = first.path.stat().st_mtime_ns
    again = build_bundle()
    assert (again, again.path.stat().st_mtime_ns) == (first, before)

    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    os.umask(0o077)
    other = build_bundle()
    os.umask(0o022)
    assert other.sha256 == first.sha256
    assert other.path != first.path
    assert other.path.read_bytes() == first.path.read_bytes()


def test_a_wheel_gives_the_same_as_a_checkout(tmp_path):
    source = checkout(tmp_path / "checkout")
    installed = checkout(tmp_path / "site")
    (installed / "conf").rename(installed / "dogbreed" / "conf")
    (installed / "pyproject.toml").unlink()
    lines = "".join(f"Requires-Dist: {line}\n" for line in _declared())
    (installed / "dogbreed-0.1.0.dist-info").mkdir()
    (installed / "dogbreed-0.1.0.dist-info" / "METADATA").write_text(f"Name: dogbreed\nVersion: 0.1.0\n{lines}")

    one, two = build_in(source, tmp_path / "one"), build_in(installed, tmp_path / "two")

    assert one["files"] == two["files"]
    assert one["sha256"] == two["sha256"]
    assert Path(one["path"]).read_bytes() == Path(two["path"]).read_bytes()
    assert (one["revision"], one["is_dirty"]) == (None, False)


def test_revision_and_changes_are_recorded(tmp_path):
    source = checkout(tmp_path / "checkout")
    (source / ".gitignore").write_text("ignored.py\n__pycache__/\n")
    git(source, "init", "-q")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "all")
    clean = build_in(source, tmp_path / "cache")
    (source / "dogbreed" / "ignored.py").write_text("x = 1")
    assert build_in(source, tmp_path / "cache")["sha256"] == clean["sha256"]
    (source / "dogbreed" / "train.py").write_text("x = 1")
    dirty = build_in(source, tmp_path / "cache")

    assert (clean["is_dirty"], dirty["is_dirty"]) == (False, True)
    assert clean["revision"] == dirty["revision"]
    assert len(clean["revision"]) >= 12
    assert clean["sha256"] != dirty["sha256"]


def test_code_of_the_users_lies_beside_ours(own_cache, tmp_path):
    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (mine / "deep" / "rule.py").write_text("x = 1")
    (mine / "__pycache__").mkdir()
    (mine / "__pycache__" / "rule.pyc").write_text("x")
    (mine / ".venv").mkdir()
    (mine / ".venv" / "huge").write_text("x")
    (tmp_path / "callback Ü.py").write_text("y = 2")

    bundle = build_bundle([str(mine), str(tmp_path / "callback Ü.py")])

    inside = unpack(bundle, tmp_path / "code")
    assert (inside / "mine" / "deep" / "rule.py").read_text() == "x = 1"
    assert (inside / "callback Ü.py").read_text() == "y = 2"
    assert sorted(path.name for path in (inside / "mine").iterdir()) == ["deep"]


def test_what_git_ignores_stays_behind(own_cache, tmp_path):
    project = tmp_path / "project"
    (project / "src" / "data").mkdir(parents=True)
    git(project, "init", "-q")
    (project / ".gitignore").write_text("data/\n*.ckpt\n")
    for name in ("tracked.py", "new.py", "big.ckpt", "data/photo.jpg", "gone.py"):
        (project / "src" / name).write_text(name)
    git(project, "add", "src/tracked.py", "src/gone.py")
    (project / "src" / "gone.py").unlink()

    bundle = build_bundle([str(project / "src")])

    assert [name for name in bundle.files if name.startswith("src/")] == ["src/new.py", "src/tracked.py"]
    with pytest.raises(UserError, match="holds no file that git does not ignore"):
        build_bundle([str(project / "src" / "data")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dogbreed", "would take the place of our own dogbreed"),
        ("conf", "would take the place of our own conf"),
        ("sm_entry.py", "would take the place of our own sm_entry.py"),
        ("requirements.txt", "list libraries in launch.requirements"),
        ("setup.py", "changes how the job starts"),
    ],
)
def test_names_that_cannot_be(own_cache, tmp_path, name, expected):
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=expected):
        build_bundle([str(tmp_path / name)])


def test_user_code_that_cannot_be_packed(own_cache, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="launch.code=nothing does not exist"):
        build_bundle(["nothing"])
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "rule.py").write_text("x")
    with pytest.raises(UserError, match="have the same name, rule.py: rename one"):
        build_bundle([str(tmp_path / "a" / "rule.py"), str(tmp_path / "b" / "rule.py")])
    monkeypatch.setattr(bundle_module, "MAX_CODE_BYTES", 1_000_000)
    with (tmp_path / "a" / "data.bin").open("wb") as stream:
        stream.truncate(1_000_001)
    with pytest.raises(UserError, match=r"launch.code=.*/a makes the bundle larger than 1 MB: give only the folders"):
        build_bundle([str(tmp_path / "a")])


def test_requirements_are_pinned_and_leave_the_containers_torch(own_cache, tmp_path):
    lines = (unpack(build_bundle(), tmp_path / "code") / "requirements.txt").read_text().splitlines()

    assert {"timm", "lightning", "hydra-core", "tqdm", "nvidia-ml-py"} <= {line.split("==")[0] for line in lines}
    assert all(line.count("==") == 1 for line in lines)
    assert not [line for line in lines if is_in_container(line.split("==")[0])]
    assert list(core_pins().values()) == lines


def test_requirements_of_the_users(own_cache, tmp_path):
    more = ["optuna>=4.5", "# a comment", "timm==1.0.20", "kornia @ https://example.org/kornia.whl"]
    lines = (unpack(build_bundle(requirements=more), tmp_path / "code") / "requirements.txt").read_text().splitlines()
    assert lines[-3:] == ["optuna>=4.5", "timm==1.0.20", "kornia @ https://example.org/kornia.whl"]
    assert [line for line in lines if line.startswith("timm")] == ["timm==1.0.20"]
    for line in ("torch==2.11", "torchvision", "nvidia-cudnn-cu13"):
        with pytest.raises(UserError, match="the container has its own"):
            build_bundle(requirements=[line])
    for line in ("-r more.txt", "./wheel.whl", "-e ."):
        with pytest.raises(UserError, match="lies on this machine only"):
            build_bundle(requirements=[line])
    with pytest.raises(UserError, match="is no requirement"):
        build_bundle(requirements=["what is this"])


def test_our_libraries_take_the_containers_torch():
    """No library of ours may ask for another torch than the 2.13 of the container."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for name in core_pins():
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.name in ("torch", "torchvision") and (not needed.marker or needed.marker.evaluate({"extra": ""})):
                assert needed.specifier.contains("2.13.0" if needed.name == "torch" else "0.28.0"), (name, line)


def _declared() -> list:
    import tomllib

    return tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
