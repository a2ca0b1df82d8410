"""Whose run folder it is, and what a run that went wrong leaves behind."""

import json
import os
import socket

import pytest
from helpers import compose_quick

from dogbreed import UserError, fit_run
from dogbreed.fit.run_folder import RunFolder
from dogbreed.lock import RunLock


def test_a_finished_run_is_not_overwritten(finished_run, tree):
    before = (finished_run.run_dir / "metrics.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a finished run: choose another folder \(hydra.run.dir=DIR\)"):
        fit_run(compose_quick(tree), finished_run.run_dir)
    assert (finished_run.run_dir / "metrics.json").read_bytes() == before


def test_a_live_run_keeps_its_folder(tree, tmp_path):
    lock = RunLock(tmp_path / "run.lock")
    with pytest.raises(UserError, match=rf"belongs to a run that is going on \(process {os.getpid()} on"):
        fit_run(compose_quick(tree), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
    lock.release()


def test_a_dead_runs_folder_can_be_used_again(tree, tmp_path):
    (tmp_path / "run.lock").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert fit_run(compose_quick(tree), tmp_path).metrics
    assert not (tmp_path / "run.lock").exists()


# -- what goes wrong ---------------------------------------------------------


def test_a_failed_run_says_so(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        fit_run(compose_quick(tmp_path / "nowhere"), tmp_path / "run")
    state = RunFolder(tmp_path / "run").state()
    assert state["state"] == "failed"
    assert str(tmp_path / "nowhere") in state["error"]
    assert not (tmp_path / "run" / "run.lock").exists()


def test_an_interrupted_run_says_so(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "run").occupied():
        raise KeyboardInterrupt
    assert RunFolder(tmp_path / "run").state()["state"] == "interrupted"


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["data.batch_size=64"], r"64.*24.*set data.batch_size=24 or lower"),
        (["data.batch_size=0"], r"data.batch_size=0 must be at least 1"),
        (["data.num_workers=-1"], r"data.num_workers=-1"),
        (["optim.lr=-1"], r"lr=-1"),
        (["model.dropout=1.5"], r"dropout=1.5"),
        (["checkpoint_dir=5"], r"checkpoint_dir=5 must be a text or null"),
        (["augment.crop_scale=[0.5,2]"], r"crop_scale"),
        (["data.on_bad_file=ignore"], r"on_bad_file=ignore"),
        (["trainer.limit_train_batches=0"], r"trainer.limit_train_batches=0 must be above 0"),
        (["trainer.limit_val_batches=0.0"], r"trainer.limit_val_batches=0.0 must be above 0"),
        (["data.class_names=[red,red]"], r"names a class twice"),
        (["+trainer.foo=1"], r"lightning.Trainer does not take these keys: .*'foo'"),
        (["+callbacks.mine._target_=lightning.pytorch.callbacks.EarlyStopping"], r"EarlyStopping .*monitor"),
        (["model.preprocessing={men:[1,1,1]}"], r"model.preprocessing.men does not exist. Did you mean mean"),
    ],
)
def test_numbers_out_of_range(tree, tmp_path, more, match):
    with pytest.raises(UserError, match=match):
        fit_run(compose_quick(tree, *more), tmp_path / "run")


def test_a_checkpoint_folder_that_cannot_be_made_is_noticed_at_once(tree, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.*checkpoint_dir=DIR"):
        fit_run(compose_quick(tree, f"checkpoint_dir='{tmp_path / 'taken' / 'kept'}'"), tmp_path / "run")
    assert not (tmp_path / "run" / "run.lock").exists()


def test_a_file_where_the_run_folder_should_be(tree, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.*hydra.run.dir=DIR"):
        fit_run(compose_quick(tree), tmp_path / "taken" / "run")
