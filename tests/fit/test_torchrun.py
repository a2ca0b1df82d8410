"""Ranks that torchrun starts, and sweeps over runs on several devices."""

import json
import os
import sys
import time

import pytest
from rank_runs import assert_same_run, callback, options, start, wait_until_gone

from dogbreed import compose, fit_run


def torchrun(*words):
    return ["-m", "torch.distributed.run", *words, "-m", "dogbreed.train"]


@pytest.mark.slow
def test_a_sweep_over_runs_of_two_processes(odd_tree, tmp_path):
    words = options(odd_tree, "trainer.devices=2", "trainer.max_epochs=1", "optim.lr=-1,1e-3", "hydra.sweep.dir=s")
    run = start(tmp_path, "-m", "dogbreed.train", "-m", *words)
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    trials = json.loads((tmp_path / "s" / "sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["failed", "completed"]
    assert err.count("optim.lr=-1 must be") == 1
    assert out.count("epoch 1/1") == 1
    assert out.count("trial  overrides") == 1


@pytest.mark.slow
def test_torchrun_on_one_machine(odd_tree, weights, tmp_path):
    words = options(odd_tree, f"model.weights='{weights}'", "finetune=head")
    one = fit_run(compose(words), tmp_path / "one")
    run = start(tmp_path, *torchrun("--nproc-per-node=2"), *words, "trainer.devices=2", "hydra.run.dir=two")
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert_same_run(one.run_dir, tmp_path / "two")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    assert out.count("epoch 1/2") == 1
    assert "epoch 2/2" in (tmp_path / "two" / "train.log").read_text()


@pytest.mark.slow
def test_torchrun_on_two_machines(odd_tree, weights, tmp_path):
    """Two agents on this one, which find each other as on two."""
    from dogbreed.fit.ranks import TCPStore

    words = options(odd_tree, f"model.weights='{weights}'", "finetune=head")
    one = fit_run(compose(words), tmp_path / "one")
    port = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port
    runs = []
    for node in range(2):
        (tmp_path / f"node{node}").mkdir()
        agent = torchrun("--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}", "--master-addr=127.0.0.1",
                         f"--master-port={port}")  # fmt: skip
        runs.append(start(tmp_path / f"node{node}", *agent, *words, "trainer.num_nodes=2", "hydra.run.dir=two"))
    for run in runs:
        _, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
    assert_same_run(one.run_dir, tmp_path / "node0" / "two")
    assert not list((tmp_path / "node1").iterdir())


@pytest.mark.slow
def test_a_sweep_under_torchrun(odd_tree, tmp_path):
    words = options(odd_tree, "trainer.devices=2", "trainer.max_epochs=1", "optim.lr=1e-3,-1,1e-2", "hydra.sweep.dir=s")
    run = start(tmp_path, *torchrun("--nproc-per-node=2"), "-m", *words)
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    trials = json.loads((tmp_path / "s" / "sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["completed", "failed", "completed"]
    assert err.count("optim.lr=-1 must be") == 1
    assert out.count("trial  overrides") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sentence", "leave"])
def test_a_rank_of_torchruns_that_dies(how, odd_tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    more = [*callback("Trouble", how=how), *callback("Pids", folder=tmp_path / "pids"), "trainer.devices=2"]
    run = start(tmp_path, *torchrun("--nproc-per-node=2"), *options(odd_tree, *more), "hydra.run.dir=run")
    started = time.monotonic()
    _, err = run.communicate(timeout=120)
    assert time.monotonic() - started < 60
    assert run.returncode == 1
    wait_until_gone(tmp_path / "pids")
    if how == "sentence":
        assert err.count("Error: The picture x.jpg is broken: restore it.\n") == 1
