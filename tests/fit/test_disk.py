"""Full, read-only and damaged: one sentence, and what was there is still there."""

import json
import shutil
import subprocess

import children
import pytest
import torch
from helpers import QUICK

from dogbreed import UserError, compose, fit_run
from dogbreed.fit.checkpoint_file import WholeCheckpointIO


@pytest.fixture
def disk(tmp_path):
    """Make a disk of so many bytes."""
    mounted = []

    def make(size_bytes, *options):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        options = ",".join((f"size={size_bytes}", *options))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip("nobody may mount a disk here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def quick(tree, *more):
    return [*QUICK, "data=folder", f"data.root='{tree}'", *more]


@pytest.fixture(scope="session")
def checkpoint_bytes(finished_run):
    return (finished_run.run_dir / "checkpoints" / "last.ckpt").stat().st_size


@pytest.mark.parametrize("num_fitting", [0.5, 2.5])
def test_a_disk_full_of_checkpoints(tree, tmp_path, disk, checkpoint_bytes, num_fitting):
    """The first does not fit, or the third, which takes the place of one only when it is whole."""
    kept = disk(int(num_fitting * checkpoint_bytes)) / "kept"
    cfg = compose(quick(tree, f"checkpoint_dir='{kept}'", "trainer.max_epochs=50", "optim.lr=1e-5"))
    with pytest.raises(UserError) as error:
        fit_run(cfg, tmp_path / "run")
    assert "cannot be written (No space left on device): make room or choose another place, checkpoint_dir" in str(
        error.value
    )
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (state["state"], state["is_resumable"]) == ("failed", True)
    names = sorted(path.name for path in kept.iterdir())
    assert names == (["best.ckpt", "last.ckpt"] if num_fitting > 2 else [])
    for name in names:
        torch.load(kept / name, weights_only=True)


def test_room_is_made_and_the_run_goes_on(tree, tmp_path, disk, checkpoint_bytes):
    place = disk(int(3.5 * checkpoint_bytes))
    (place / "ballast").write_bytes(bytes(checkpoint_bytes))
    options = quick(tree, f"checkpoint_dir='{place / 'kept'}'", "trainer.max_epochs=3")
    with pytest.raises(UserError, match="No space left"):
        fit_run(compose(options), tmp_path / "run")
    (place / "ballast").unlink()
    fit_run(compose(options), tmp_path / "run")
    fit_run(compose(quick(tree, "trainer.max_epochs=3")), tmp_path / "other")
    (tmp_path / "run" / "checkpoints").symlink_to(place / "kept")
    assert children.outcome(tmp_path / "run") == children.outcome(tmp_path / "other")


def test_a_full_disk_under_the_run_folder(cli, tree, disk):
    place = disk(1_000_000)
    answer = cli("train", *quick(tree), f"hydra.run.dir={place / 'run'}")
    assert answer.code == 2
    assert answer.err.count("\n") == 1, answer.err
    assert "No space left on device" in answer.err


def test_a_read_only_disk(cli, tree, tmp_path, disk):
    place = disk(1_000_000, "ro")
    answer = cli("train", *quick(tree), f"hydra.run.dir={place / 'run'}")
    assert answer.code == 2
    assert answer.err.startswith("Error: The run folder cannot be made")
    assert answer.err.count("\n") == 1
    with pytest.raises(UserError, match=r"Read-only file system.*hydra.run.dir=DIR"):
        fit_run(compose(quick(tree)), place / "run")
    with pytest.raises(UserError, match=r"Read-only file system.*checkpoint_dir=DIR"):
        fit_run(compose(quick(tree, f"checkpoint_dir='{place / 'kept'}'")), tmp_path / "run")


@pytest.mark.parametrize(
    "damage",
    ["empty", *(pytest.param(damage, marks=pytest.mark.slow) for damage in ("half", "flipped", "another file"))],
)
def test_a_damaged_checkpoint(tree, tmp_path, damage):
    options = quick(tree, "trainer.max_epochs=3", "data.cache=none")  # whose files would be synced, too
    run_dir = tmp_path / "run"
    assert children.run(options, run_dir, die_in="os.fsync", nth=3) < 0
    last, best = (run_dir / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    whole = last.read_bytes()
    damaged = {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "flipped": whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :],
        "another file": b"path,label\n",
    }[damage]
    last.write_bytes(damaged)
    before = {path: path.read_bytes() for path in run_dir.rglob("*.*") if path.is_file() and path.suffix != ".lock"}
    with pytest.raises(UserError) as error:
        fit_run(compose(options), run_dir)
    assert str(error.value).startswith(f"{last} is damaged (")
    assert str(error.value).endswith("put best.ckpt in its place to go on from there, or start anew with resume=never.")
    after = {path: path.read_bytes() for path in run_dir.rglob("*.*") if path.is_file() and path.suffix != ".lock"}
    assert after == before
    # As the sentence says.
    shutil.copy(best, last)
    fit_run(compose(options), run_dir)


def test_what_is_no_checkpoint_of_ours(tree, tmp_path):
    (tmp_path / "kept").mkdir()
    torch.save({"epoch": 1}, tmp_path / "kept" / "last.ckpt")
    with pytest.raises(UserError, match="last.ckpt is no checkpoint: move it away"):
        fit_run(compose(quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'")), tmp_path / "run")
    torch.save({"state_dict": {}}, tmp_path / "kept" / "last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt belongs to an unfinished run with another configuration"):
        fit_run(compose(quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'")), tmp_path / "run")


def test_our_own_mistakes_keep_their_names(tmp_path):
    with pytest.raises(AttributeError):
        WholeCheckpointIO().save_checkpoint({"state_dict": lambda: 0}, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())
