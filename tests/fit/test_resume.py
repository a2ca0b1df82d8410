"""A run that was interrupted and goes on ends as one that was not, bit by bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import children
import pytest
import timm
import torch
from helpers import QUICK
from safetensors.torch import save_file

from dogbreed import UserError, compose, fit_run
from dogbreed.fit.fingerprint import config_hash, data_hash
from dogbreed.fit.lock import RunLock

EPOCHS = 4


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), file)
    return file


@pytest.fixture(scope="session")
def options(tree, weights):
    """Two phases, statistics that move, dropout, accumulation, and a checkpoint after every step."""
    return [
        *QUICK,
        "data=folder",
        f"data.root='{tree}'",
        f"model.weights='{weights}'",
        "finetune=head_then_full",
        "finetune.batchnorm=train",
        "model.dropout=0.3",
        "trainer.accumulate_grad_batches=2",
        "data.batch_size=4",
        f"trainer.max_epochs={EPOCHS}",
        "checkpoint_every_s=0",
    ]


@pytest.fixture(scope="session")
def uninterrupted(options, tmp_path_factory):
    """The outcome of a run that nothing disturbs, and how long it takes."""
    run_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert children.run(options, run_dir) == 0
    started = time.monotonic()
    again = run_dir.with_name("again")
    assert children.run(options, again) == 0
    seconds = time.monotonic() - started
    assert children.outcome(run_dir) == children.outcome(again)  # the same seed gives the same numbers
    return children.outcome(run_dir), seconds


def said(run_dir):
    return run_dir.with_name(f"{run_dir.name}.out").read_text()


def check_goes_on(options, run_dir, expected):
    assert children.run(options, run_dir) == 0, said(run_dir)
    assert children.outcome(run_dir) == expected
    assert not list(run_dir.rglob(".*.ckpt.*"))
    assert json.loads((run_dir / "run.json").read_text())["state"] == "completed"


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


@pytest.mark.parametrize("num_workers", [0, 2])
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
    "while results are written": ("dogbreed.fit.outcome.draw_curves", 1, "trained to the end, not yet measured"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(options, uninterrupted, tmp_path, moment):
    function, nth, words = MOMENTS[moment]
    run_dir = tmp_path / "run"
    assert children.run(options, run_dir, die_in=function, nth=nth) == -signal.SIGKILL
    check_goes_on(options, run_dir, uninterrupted[0])
    assert f"resume  {run_dir}, {words}" in said(run_dir)


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.max_steps=8"],
        ["trainer.val_check_interval=0.5"],
        ["trainer.val_check_interval=4", "loss.class_weights=balanced"],
        ["ema=default", "augment=strong", "data.sampling=balanced"],
        ["early_stopping=default", "early_stopping.patience=2", "early_stopping.min_delta=2.0"],
        pytest.param(["trainer.check_val_every_n_epoch=2"], marks=pytest.mark.slow),
        pytest.param(["trainer.limit_train_batches=4", "trainer.accumulate_grad_batches=3"], marks=pytest.mark.slow),
        pytest.param(["optim=sgd", "trainer.gradient_clip_val=0.1", "objective=val/loss"], marks=pytest.mark.slow),
        pytest.param(["trainer.precision=bf16-true"], marks=pytest.mark.slow),
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


@pytest.mark.parametrize(("number", "num_workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0), (signal.SIGTERM, 2)])
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


# -- which run goes on -------------------------------------------------------


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
