"""Several devices: two processes on the CPU, over gloo, as several GPUs would be over NCCL."""

import json
import logging
import os
import re
import signal
import sys
import time

import pytest
import torch
from helpers import rows_of
from rank_runs import assert_same_run, callback, options, start, wait_until_gone
from safetensors.torch import load_file

from dogbreed import UserError, compose, fit_run
from dogbreed.distributed import RankError
from dogbreed.distributed.failure import is_echo
from dogbreed.fit.run_folder import RunFolder

# -- the same learning -------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        ("finetune=head", "augment=standard", "trainer.max_epochs=2", "data.num_views=0"),
        pytest.param(
            ("finetune=head", "augment=standard", "trainer.max_epochs=3", "data.num_views=2"), marks=pytest.mark.slow
        ),
        # DistributedDataParallel must take in the backbone when its phase begins.
        pytest.param(
            ("finetune=head_then_full", "trainer.max_epochs=4", "finetune.head_epochs=2", "optim=sgd",
             "optim.lr=0.05", "finetune.backbone_lr_scale=1",
             "trainer.gradient_clip_val=1.0", "trainer.accumulate_grad_batches=2", "data.batch_size=4"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["head", "features", "head_then_full"],
)  # fmt: skip
def test_two_processes_learn_what_one_learns(recipe, odd_tree, weights, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    overrides = options(odd_tree, f"model.weights='{weights}'", *recipe)
    one = fit_run(compose(overrides), tmp_path / "one")
    caplog.clear()
    two = fit_run(compose([*overrides, "trainer.devices=2"]), tmp_path / "two")
    assert_same_run(one.run_dir, two.run_dir)
    assert two.metrics == json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert two.objective == pytest.approx(one.objective, abs=1e-5)
    assert {path.name for path in two.run_dir.iterdir()} == {path.name for path in one.run_dir.iterdir()}
    # What rank 0 logs is logged here; what the others log is nowhere.
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if line.startswith("epoch ")]) == len(rows_of(two.run_dir / "metrics.csv"))
    assert len([line for line in lines if line.startswith("run ")]) == 1


@pytest.mark.slow
def test_rules_stop_both_processes(odd_tree, tmp_path):
    more = ("+diagnose.rules.mine._target_=rank_callbacks.AfterThree", "diagnose.on_issue=stop", "trainer.devices=2")
    run = fit_run(compose(options(odd_tree, *more, "trainer.max_epochs=9")), tmp_path / "run")
    (epoch,) = rows_of(tmp_path / "run" / "metrics.csv")  # whose end both wait for
    steps = rows_of(tmp_path / "run" / "steps.csv")
    assert [int(row["step"]) for row in steps] == list(range(1, int(epoch["step"]) + 1))
    found = {row["name"]: row for row in json.loads((tmp_path / "run" / "diagnosis.json").read_text())}
    assert (found["mine"]["verdict"], found["mine"]["count"]) == ("issue", 1)
    assert found["exploding_tensor"]["verdict"] == "ok"
    assert "test/acc_top1" in run.metrics


@pytest.mark.slow
def test_unfrozen_statistics_agree_and_every_picture_counts_once(odd_tree, tmp_path):
    more = ("finetune=full", "finetune.batchnorm=train", "model.dropout=0.2", "trainer.devices=2")
    result = fit_run(
        compose(options(odd_tree, *more, *callback("Checksums", file=tmp_path / "sums.json"))), tmp_path / "run"
    )
    seen = json.loads((tmp_path / "sums.json").read_text())
    assert [(one["when"], one["epoch"]) for one in seen] == [
        ("validation", 0), ("epoch", 0), ("validation", 1), ("epoch", 1)
    ]  # fmt: skip
    for one in seen:
        assert one["sums"][0] == one["sums"][1]
        assert one["seeds"][0] != one["seeds"][1]  # dropout is each rank's own
    assert seen[0]["sums"][0] != seen[-1]["sums"][0]
    # The model folder holds what both had at the best epoch.
    best = torch.load(result.run_dir / "checkpoints" / "best.ckpt", weights_only=True)
    written = load_file(result.model_dir / "model.safetensors")
    assert all(torch.equal(best["state_dict"][f"net.{name}"], tensor) for name, tensor in written.items())
    rows = rows_of(result.run_dir / "predictions.csv")
    for split, prefix, count in (("valid", "val", 9), ("test", "test", 15)):
        own = [row for row in rows if row["split"] == split]
        assert len({row["file"] for row in own}) == len(own) == count
        share = sum(row["label"] == row["predicted"] for row in own) / count
        assert result.metrics[f"{prefix}/acc_top1"] == pytest.approx(share)
    # Validation in training, where ranks have unequal shares, counts what the evaluation of the best epoch counts.
    row = rows_of(result.run_dir / "metrics.csv")[best["epoch"]]
    assert float(row["val/loss"]) == pytest.approx(result.metrics["val/loss"], abs=1e-5)


# -- the end of a run --------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "rank", "error", "match"),
    [
        ("sentence", 1, UserError, r"^The picture x\.jpg is broken: restore it\."),
        pytest.param("leave", 1, RankError, r"^rank 1 left with code 3 ", marks=pytest.mark.slow),
        pytest.param("traceback", 1, RankError, r"^rank 1: RuntimeError: out of luck", marks=pytest.mark.slow),
        pytest.param("traceback", 0, RankError, r"^rank 0: RuntimeError: out of luck", marks=pytest.mark.slow),
        pytest.param("kill", 1, RankError, r"^rank 1 was ended by SIGKILL ", marks=pytest.mark.slow),
        pytest.param("kill", 0, RankError, r"^rank 0 was ended by SIGKILL ", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_dies_ends_the_run_with_its_own_error(how, rank, error, match, odd_tree, tmp_path):
    more = [*callback("Trouble", how=how, rank=rank), *callback("Pids", folder=tmp_path / "pids"), "trainer.devices=2"]
    started = time.monotonic()
    with pytest.raises(error, match=match) as raised:
        fit_run(compose(options(odd_tree, *more)), tmp_path / "run")
    assert time.monotonic() - started < 60
    wait_until_gone(tmp_path / "pids", timeout_s=0.1)
    state = RunFolder(tmp_path / "run").state()
    assert state["state"] == "failed"
    assert re.search(match, state["error"])
    assert "\n" not in state["error"]
    assert not (tmp_path / "run" / "run.lock").exists()
    assert not is_echo(raised.value)  # which a command would not print
    notes = "\n".join(getattr(raised.value, "__notes__", []))
    if how == "traceback":
        assert "on_train_batch_start" in notes
    if how == "leave":
        assert "my last words" in notes


@pytest.mark.slow
def test_ctrl_c_ends_every_rank(odd_tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    more = [*callback("Pids", folder=tmp_path / "pids"), "trainer.devices=2", "trainer.max_epochs=10000"]
    run = start(tmp_path, "-m", "dogbreed.train", *options(odd_tree, *more), "hydra.run.dir=run")
    for line in run.stdout:
        if line.startswith("epoch     2/"):
            break
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    wait_until_gone(tmp_path / "pids", timeout_s=0.1)
    assert RunFolder(tmp_path / "run").state()["state"] == "interrupted"
    assert "epoch     2/" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.slow
def test_no_rank_outlives_a_killed_supervisor(odd_tree, tmp_path, monkeypatch):
    """And a script needs no `if __name__ == "__main__"`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    more = [*callback("Pids", folder=tmp_path / "pids"), "trainer.devices=2", "trainer.max_epochs=10000"]
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, sys\nfrom dogbreed import compose, fit_run\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n"
        f"fit_run(compose({options(odd_tree, *more)!r}), 'run')\n"
    )
    run = start(tmp_path, script)
    for line in run.stdout:
        if line.startswith("epoch     2/"):
            break
    run.kill()
    run.wait()
    wait_until_gone(tmp_path / "pids")
    run.communicate()


# -- what is refused ---------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["trainer.devices=0"], r"trainer\.devices=0 trains on nothing"),
        (["trainer.devices=two"], r"trainer\.devices=two names no devices"),
        (["trainer.devices=-1"], r"trainer\.devices=-1 trains on nothing"),
        (["trainer.devices=[0,1]"], r"names GPUs, and this run has none"),
        (["trainer.devices=3"], r"data\.batch_size=8 cannot be shared by 3 devices: use 6 or 9\."),
        (["trainer.devices=2", "data.batch_size=1"], r"cannot be shared by 2 devices: use 2\."),
        (["trainer.num_nodes=2"], r"trainer\.num_nodes=2 needs a start on each machine: torchrun --nnodes=2"),
        (["trainer.devices=2", "trainer.strategy=fsdp"], r"trainer\.strategy=ddp"),
        (["trainer.devices=2", "trainer.overfit_batches=1"], r"trainer\.overfit_batches=1 is for one device"),
        (["trainer.devices=2", "+trainer.sync_batchnorm=true"], r"trainer\.sync_batchnorm=true would break"),
        (["trainer.devices=4", "trainer.max_epochs=0"], r"trainer\.max_epochs=0 trains nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_several_devices_cannot_do(words, match, tree, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("dogbreed.fit.run.supervise", lambda *_: started.append(1))
    with pytest.raises(UserError, match=match):
        fit_run(compose(options(tree, *words)), tmp_path / "run")
    assert not started, "processes for several devices"


def test_torchrun_with_another_number_of_processes(tree, tmp_path, monkeypatch):
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for key, value in place.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UserError, match=r"torchrun has started 1 processes, and trainer\.devices=2 .* mean 2"):
        fit_run(compose(options(tree, "trainer.devices=2")), tmp_path / "run")


def test_more_devices_than_pictures(tree):
    from dogbreed import ImageDataModule

    with pytest.raises(UserError, match=r"The valid split has 9 pictures for 12 devices: lower trainer\.devices\."):
        ImageDataModule(tree, batch_size=12, num_ranks=12).setup("fit")


def test_shares_of_a_split_are_the_split(tree):
    from dogbreed import ImageDataModule

    shares = [ImageDataModule(tree, batch_size=4, rank=rank, num_ranks=4) for rank in range(4)]
    for split, count in (("valid", 9), ("test", 12)):
        seen = [torch.cat([batch.indices for batch in data.eval_dataloader(split)]).tolist() for data in shares]
        assert sorted(index for share in seen for index in share) == list(range(count))
        assert seen[1] == list(range(1, count, 4))
    batches = [list(data.train_dataloader()) for data in shares]
    assert [len(share) for share in batches] == [6] * 4
    whole = list(ImageDataModule(tree, batch_size=4).train_dataloader())
    for number, batch in enumerate(whole):
        assert torch.cat([share[number].indices for share in batches]).equal(batch.indices)
