"""Which run goes on when a command is typed again, and which is left alone."""

import shutil
import signal
import subprocess
import sys

import children
import pytest
import torch
from children import said
from helpers import QUICK

from dogbreed import UserError, compose, fit_run
from dogbreed.config.hashing import config_hash
from dogbreed.fit.fingerprint import data_hash
from dogbreed.lock import RunLock


@pytest.fixture
def interrupted(options, tmp_path):
    """An interrupted run among others in ``runs/``."""
    run_dir = tmp_path / "runs" / "earlier"
    assert children.run(options, run_dir, die_in="os.fsync", nth=7) == -signal.SIGKILL
    return run_dir


def command(options, cwd, *more):
    process = children.start_command("train", [*options, *more], cwd)
    return children.end(process), children.printed(process, cwd)


def test_the_same_command_goes_on(options, uninterrupted, interrupted, tmp_path):
    code, out = command(options, tmp_path)
    assert code == 0, out
    assert f"resume  {interrupted}, epoch 2 of 4, batch 5 of 6\n" in out
    assert children.outcome(interrupted) == uninterrupted[0]
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == ["earlier"]
    # What is finished is not gone on with.
    assert command(options, tmp_path)[0] == 0
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize("more", ["optim.lr=1e-4", "resume=never"])
def test_another_command_does_not(options, interrupted, tmp_path, more):
    before = (interrupted / "run.json").read_bytes()
    code, out = command(options, tmp_path, more)
    assert code == 0, out
    assert "resume" not in out
    assert (interrupted / "run.json").read_bytes() == before


def test_other_data_under_the_same_name(options, tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "pictures")
    options = [*options, f"data.root='{root}'"]
    run_dir = tmp_path / "runs" / "earlier"
    assert children.run(options, run_dir, die_in="os.fsync", nth=7) == -signal.SIGKILL
    (root / "train" / "red" / "red_1.jpg").unlink()
    code, out = command(options, tmp_path)
    assert code == 0, out
    assert "resume" not in out
    code, out = command(options, tmp_path, "hydra.run.dir=runs/earlier")
    assert (code, out) == (
        2,
        "Error: runs/earlier belongs to an unfinished run with another data: choose another folder "
        "(hydra.run.dir=DIR, checkpoint_dir=DIR), or start anew there and lose it, resume=never.\n",
    )


@pytest.mark.slow
def test_a_live_run_is_left_alone_and_two_that_look_at_once_do_not_share(options, uninterrupted, interrupted, tmp_path):
    lock = RunLock(interrupted / "run.lock")
    try:
        code, out = command(options, tmp_path)
        assert code == 0, out
        assert "resume  not runs/earlier belongs to a run that is going on" in out
        assert f"resume  {interrupted}" not in out
    finally:
        lock.release()
    both = [children.start_command("train", options, tmp_path) for _ in range(2)]
    outs = [(children.end(process), children.printed(process, tmp_path)) for process in both]
    assert [code for code, _ in outs] == [0, 0], outs
    assert sum(f"resume  {interrupted}, epoch" in out for _, out in outs) == 1
    folders = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(folders) == 3
    # Nor do two that begin at once.
    both = [children.start_command("train", [*options, "resume=never"], tmp_path) for _ in range(2)]
    assert [children.end(process) for process in both] == [0, 0]
    folders = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(folders) == 5
    assert all(children.outcome(folder) == uninterrupted[0] for folder in folders)


def test_a_folder_by_name(options, uninterrupted, interrupted, tmp_path):
    """Another run's folder is refused before anything in it is touched; ``resume=never`` takes it."""
    (interrupted / "run.lock").unlink()  # of a dead run; whoever looks takes it away
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    code, out = command(options, tmp_path, "seed=1", "hydra.run.dir=runs/earlier")
    assert code == 2
    assert "runs/earlier belongs to an unfinished run with another configuration: choose another folder" in out
    with pytest.raises(UserError, match="another configuration"):
        fit_run(compose([*options, "seed=1"]), interrupted)
    code, out = command(options, tmp_path, "seed=1", "resume=runs/earlier")
    assert code == 2
    assert "another configuration" in out
    with pytest.raises(UserError, match=r"resume=runs/nowhere"):
        fit_run(compose([*options, "resume=runs/nowhere"]), interrupted)
    code, out = command(options, tmp_path, "resume=nowhere")
    assert (code, "resume=nowhere holds no run" in out) == (2, True)
    assert {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()} == before
    code, out = command(options, tmp_path, "resume=runs/earlier")
    assert code == 0, out
    assert children.outcome(interrupted) == uninterrupted[0]


def test_never_begins_anew_in_the_same_folder(options, interrupted):
    result = fit_run(compose([*options, "seed=1", "resume=never"]), interrupted)
    best = torch.load(interrupted / "checkpoints" / "last.ckpt", weights_only=True)
    assert best["run"]["seed"] == 1
    assert result.metrics["val/loss"] > 0


def test_checkpoints_elsewhere_outlive_the_run_folder(options, uninterrupted, tmp_path):
    """A spot instance comes back with an empty disk and the folder of checkpoints."""
    kept = tmp_path / "kept"
    options = [*options, f"checkpoint_dir='{kept}'"]
    assert children.run(options, tmp_path / "first", die_in="os.fsync", nth=7) == -signal.SIGKILL
    with pytest.raises(UserError, match=r"last.ckpt belongs to an unfinished run with another configuration"):
        fit_run(compose([*options, "seed=1"]), tmp_path / "other")
    assert children.run(options, tmp_path / "second") == 0, said(tmp_path / "second")
    (tmp_path / "second" / "checkpoints").symlink_to(kept)
    assert children.outcome(tmp_path / "second") == uninterrupted[0]


def test_two_runs_do_not_share_their_checkpoints(tree, tmp_path):
    more = [*QUICK, "data=folder", f"data.root='{tree}'", f"checkpoint_dir='{tmp_path / 'kept'}'"]
    process = children.start([*more, "trainer.max_epochs=1000"], tmp_path / "first")
    try:
        children.wait_for("epoch    1/", tmp_path / "first.out", process)
        with pytest.raises(UserError, match=r"kept belongs to a run that is going on: .*checkpoint_dir=DIR"):
            fit_run(compose([*more, "seed=1"]), tmp_path / "second")
    finally:
        process.kill()


def test_the_lookup_needs_no_torch():
    code = "import sys, dogbreed.fit.resume; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# -- what is the same --------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "is_same"),
    [
        (["data.num_workers=2", "logger=tensorboard", "test_after_fit=false", "checkpoint_dir=elsewhere"], True),
        (["trainer.log_every_n_steps=1", "resume=never", "checkpoint_every_s=1"], True),
        (["trainer.max_epochs=3"], False),
        (["model.dropout=0.1"], False),
        (["objective=val/loss"], False),
        (["trainer.precision=bf16-mixed"], False),
        (["+callbacks.x._target_=lightning.pytorch.callbacks.Timer"], False),
    ],
)
def test_what_makes_a_configuration_another_one(more, is_same):
    base = [*QUICK, "data=folder", "data.root=/photos"]
    assert (config_hash(compose(base)) == config_hash(compose([*base, *more]))) == is_same


def test_data_are_their_names_and_sizes_wherever_they_are(tree, tmp_path):
    def hashed(root):
        return data_hash(compose([*QUICK, "data=folder", f"data.root='{root}'"]))

    copy = shutil.copytree(tree, tmp_path / "copy")
    assert hashed(copy) == hashed(tree)
    (copy / "train/red/red_0.jpg").rename(copy / "train/blue/red_0.jpg")
    assert hashed(copy) != hashed(tree)
    assert hashed(tmp_path / "nowhere").startswith("unreadable")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\ntrain/red/red_1.jpg,red\n")

    def of_manifest():
        return data_hash(compose([*QUICK, "data=manifest", f"data.manifest='{manifest}'", f"data.root='{tree}'"]))

    before = of_manifest()
    manifest.write_text("path,label\ntrain/red/red_1.jpg,blue\n")
    assert of_manifest() != before
