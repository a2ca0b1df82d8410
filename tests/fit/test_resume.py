"""A run that was interrupted and goes on ends as one that was not, bit by bit."""

import json
import os
import random
import shutil
import signal
import time

import children
import pytest
import torch
from children import check_goes_on, said
from helpers import QUICK

from dogbreed import compose, fit_run


def kill_at_random(options, run_dir, expected, seconds, seed):
    """Kill -9 the run, not its loader processes, again and again until it has been through."""
    rng = random.Random(seed)
    processes = []
    try:
        for _ in range(3):
            processes.append(children.start(options, run_dir))
            processes[-1].join(rng.uniform(0.1, seconds))
            processes[-1].kill()
            if children.end(processes[-1]) == 0:
                break
        else:
            check_goes_on(options, run_dir, expected)
    finally:
        for process in processes:
            children.kill_orphans(process)
    assert children.outcome(run_dir) == expected


# -- killed ------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_a_random_moment(options, uninterrupted, tmp_path, num_workers):
    expected, seconds = uninterrupted
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    kill_at_random([*options, f"data.num_workers={num_workers}"], tmp_path / "run", expected, seconds, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_twenty_random_moments(options, uninterrupted, tmp_path, seed):
    more = [*options, f"data.num_workers={seed % 3}"]
    kill_at_random(more, tmp_path / "run", uninterrupted[0], 1.5 * uninterrupted[1], seed)


MOMENTS = {
    "while the second checkpoint within an epoch is written": ("os.fsync", 2, "epoch 1 of 4, batch 3 of 6"),
    "while the best checkpoint is written": ("os.fsync", 3, "epoch 1 of 4, batch 5 of 6"),
    "between the best and the last": ("os.fsync", 4, "epoch 1 of 4, batch 5 of 6"),
    "at the end of an epoch": ("dogbreed.fit.record.write_csv", 2, "epoch 2 of 4, batch 5 of 6"),
    "after training": ("dogbreed.fit.run.measure", 1, "trained to the end, not yet measured"),
    "while results are written": ("dogbreed.fit.outcome.write_tables", 1, "trained to the end, not yet measured"),
}
QUICK_MOMENTS = ("while the best checkpoint is written", "at the end of an epoch", "while results are written")


@pytest.mark.parametrize(
    "moment",
    [moment if moment in QUICK_MOMENTS else pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS],
)
def test_killed(options, uninterrupted, tmp_path, moment):
    function, nth, words = MOMENTS[moment]
    run_dir = tmp_path / "run"
    assert children.run(options, run_dir, die_in=function, nth=nth) == -signal.SIGKILL
    check_goes_on(options, run_dir, uninterrupted[0])
    assert f"resume  {run_dir}, {words}" in said(run_dir)


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.val_check_interval=4", "loss.class_weights=balanced"],
        pytest.param(["ema=default", "augment=strong", "data.sampling=balanced"], marks=pytest.mark.slow),
        pytest.param(["finetune=head", "data.num_views=2"], marks=pytest.mark.slow),
        pytest.param(["trainer.max_steps=8"], marks=pytest.mark.slow),
        pytest.param(["trainer.val_check_interval=0.5"], marks=pytest.mark.slow),
        pytest.param(
            ["early_stopping=default", "early_stopping.patience=2", "early_stopping.min_delta=2.0"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["trainer.check_val_every_n_epoch=2"], marks=pytest.mark.slow),
        pytest.param(["trainer.limit_train_batches=4", "trainer.accumulate_grad_batches=3"], marks=pytest.mark.slow),
        pytest.param(["optim=sgd", "trainer.gradient_clip_val=0.1", "objective=val/loss"], marks=pytest.mark.slow),
        pytest.param(["trainer.precision=bf16-true"], marks=pytest.mark.slow),
        pytest.param(["data.cache=auto"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_other_ways_of_training(options, tmp_path, more):
    options = [*options, *more]
    assert children.run(options, tmp_path / "whole") == 0, said(tmp_path / "whole")
    expected = children.outcome(tmp_path / "whole")
    for nth in (2, 6):
        run_dir = tmp_path / f"killed{nth}"
        assert children.run(options, run_dir, die_in="os.fsync", nth=nth) == -signal.SIGKILL
        check_goes_on(options, run_dir, expected)


def test_early_stopping_stays_stopped(options, tmp_path):
    options = [
        *options,
        "+callbacks.patience._target_=lightning.pytorch.callbacks.EarlyStopping",
        "+callbacks.patience.monitor=val/loss",
        "+callbacks.patience.min_delta=100",
        "+callbacks.patience.patience=1",
    ]
    assert children.run(options, tmp_path / "whole") == 0, said(tmp_path / "whole")
    expected = children.outcome(tmp_path / "whole")
    assert expected["epoch"] == 1
    assert children.run(options, tmp_path / "killed", die_in="dogbreed.fit.run.measure") == -signal.SIGKILL
    check_goes_on(options, tmp_path / "killed", expected)


def test_without_a_seed_it_goes_on_with_the_one_it_had(options, tmp_path):
    options = [*options, "seed=null"]
    assert children.run(options, tmp_path / "run", die_in="os.fsync", nth=6) == -signal.SIGKILL
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert children.run(options, tmp_path / "run") == 0
    assert children.run(options, tmp_path / "copy") == 0
    assert children.outcome(tmp_path / "run") == children.outcome(tmp_path / "copy")


def test_a_folder_that_was_moved(options, uninterrupted, tmp_path):
    assert children.run(options, tmp_path / "here", die_in="os.fsync", nth=7) == -signal.SIGKILL
    (tmp_path / "here").rename(tmp_path / "there")
    check_goes_on(options, tmp_path / "there", uninterrupted[0])


def test_checkpoints_by_time_may_be_switched_off(options, tmp_path):
    options = [*options, "checkpoint_every_s=null"]
    assert children.run(options, tmp_path / "run", die_in="dogbreed.fit.record.write_csv", nth=2) == -signal.SIGKILL
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["run"]["batch"] == 0


# -- stopped -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "num_workers"),
    [(signal.SIGINT, 2), (signal.SIGTERM, 0), pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow)],
)
def test_stopped_by_a_signal(options, uninterrupted, tmp_path, number, num_workers):
    options = [*options, f"data.num_workers={num_workers}", "checkpoint_every_s=null"]
    run_dir = tmp_path / "run"
    process = children.start(options, run_dir)
    children.wait_for("epoch 1/4", f"{run_dir}.out", process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.terminate()
    assert children.end(process) == 130, said(run_dir)
    assert said(run_dir).endswith("Interrupted. The same command goes on from here.\n")
    assert "Traceback" not in said(run_dir)
    assert json.loads((run_dir / "run.json").read_text())["state"] == "interrupted"
    assert not (run_dir / "run.lock").exists()
    check_goes_on(options, run_dir, uninterrupted[0])


def test_stopped_while_it_measures(options, uninterrupted, tmp_path):
    run_dir = tmp_path / "run"
    assert children.run(options, run_dir, die_in="dogbreed.fit.run.measure", number=signal.SIGTERM) == 130
    assert said(run_dir).endswith("Interrupted. The same command goes on from here.\n")
    check_goes_on(options, run_dir, uninterrupted[0])


def test_handlers_are_given_back(tree, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit_run(compose([*QUICK, "data=folder", f"data.root='{tree}'", "trainer=debug"]), tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_stops_at_once():
    """The step that the first one waits for never ends here."""
    from dogbreed.fit.stop import ECHO_S, StopSignals

    with StopSignals() as stop:
        stop.defer()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # at once, as timeout does: the same wish
        assert stop.is_requested
        time.sleep(ECHO_S)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
