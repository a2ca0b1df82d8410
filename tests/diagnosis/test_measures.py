"""What is measured of a run, for rules and for people: steps, phases, the machine, operators, histograms."""

import gzip
import json
import threading
import time
from pathlib import Path

import children
import lightning as L
import numpy as np
import pytest
import torch
from helpers import QUICK, compose_quick, rows_of
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import SimpleProfiler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from dogbreed import ImageClassifier, UserError, fit_run
from dogbreed.clock import PHASES
from dogbreed.diagnosis import Monitor, Profiler, rules
from dogbreed.diagnosis.statistics import sample_of
from dogbreed.diagnosis.steps import StepTable

FROM_SCRATCH = ("finetune=full", "data.cache=none")


def train(root, folder, *more):
    return fit_run(compose_quick(root, *FROM_SCRATCH, *more), folder)


def verdicts_of(folder):
    return {row["name"]: row for row in json.loads((folder / "diagnosis.json").read_text())}


def test_every_step_is_written_down(tree, tmp_path):
    run = train(tree, tmp_path / "run", "diagnose.every_n_steps=2", "trainer.max_epochs=3")
    rows = rows_of(tmp_path / "run" / "steps.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    last = np.mean([float(row["loss"]) for row in rows[-3:]])
    assert last == pytest.approx(run.metrics["train/loss"], rel=1e-4)
    assert all(0 <= float(row["wait_s"]) < float(row["seconds"]) < 60 for row in rows)


def test_rows_after_the_checkpoint_that_a_run_goes_on_from_are_cut(tmp_path):
    file = tmp_path / "steps.csv"
    times = (0.1, *6 * [0.0])
    killed = StepTable(file)
    killed.add([(step, 2.0, *times) for step in range(1, 4)])
    checkpoint = killed.state()
    killed.add([(4, 2.0, *times)])
    with file.open("a") as stream:
        stream.write("5,2.0")
    table = StepTable(file)
    table.load_state(checkpoint)
    table.add([(4, 1.0, *times)])
    assert [row["loss"] for row in rows_of(file)] == ["2", "2", "2", "1"]
    assert torch.equal(table.state()[-1], torch.tensor([4, 1.0, *times]))


def test_the_machine_is_looked_at(tree, tmp_path):
    busy = ["diagnose.system_every_s=0.02", "trainer.max_epochs=6"]
    train(tree, tmp_path / "run", *busy)
    rows = rows_of(tmp_path / "run" / "system.csv")
    assert len(rows) > 5
    assert [float(row["seconds"]) for row in rows] == sorted(float(row["seconds"]) for row in rows)
    for row in rows:
        assert 0.1 < float(row["memory_gb"]) < 50
        assert all(0 <= float(value) <= 1 for name, value in row.items() if name.startswith("cpu"))
    found = verdicts_of(tmp_path / "run")
    assert found["io_bottleneck"]["verdict"] == "ok"
    assert (found["load_balancing"]["verdict"], found["load_balancing"]["evidence"]) == ("skipped", "there is no GPU")
    assert not any(thread.name == "system sampler" for thread in threading.enumerate())


# -- phases --------------------------------------------------------------------


class Sleepy(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        time.sleep(0.01)
        return torch.randn(3, 32, 32), index % 3


class SleepyClassifier(ImageClassifier):
    def training_step(self, batch, batch_idx):
        time.sleep(0.02)
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, *_):
        time.sleep(0.005)  # of no phase


class SleepyCallback(Callback):
    def on_train_batch_end(self, *_):
        time.sleep(0.03)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_phases_are_told_apart(tmp_path, accumulate):
    classifier = SleepyClassifier("test_resnet", list("abc"), pretrained=False, input_size_px=32)
    theirs = SimpleProfiler()
    monitor = Monitor({}, file=tmp_path / "diagnosis.json")
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, profiler=theirs,
                        enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=accumulate,
                        callbacks=[monitor, SleepyCallback()])  # fmt: skip
    trainer.fit(classifier, DataLoader(Sleepy(), batch_size=4))
    rows = [{name: float(value) for name, value in row.items()} for row in rows_of(tmp_path / "steps.csv")]
    assert len(rows) == 8 // accumulate
    for row in rows[1:]:
        assert row["wait_s"] > 0.035 * accumulate
        assert 0.02 * accumulate < row["forward_s"] < row["seconds"] - row["wait_s"]
        assert row["callbacks_s"] > 0.025 * accumulate  # the one after us counts in the next step
        assert min(row["backward_s"], row["optimizer_s"]) > 0
        parts = sum(row[f"{phase}_s"] for phase in PHASES)
        assert 0.004 * accumulate < row["seconds"] - parts
    assert trainer.profiler is theirs
    assert "run_training_batch" in theirs.summary()


# -- torch's profiler ----------------------------------------------------------


def test_operators_and_a_trace(tree, tmp_path):
    more = ["diagnose.profile=true", "diagnose.profile_start_step=2", "diagnose.profile_num_steps=3"]
    train(tree, tmp_path / "run", *more)
    folder = tmp_path / "run" / "profile"
    rows = {row["name"]: row for row in rows_of(folder / "operators.csv")}
    assert int(rows["aten::_fused_adamw_"]["calls"]) % 3 == 0
    assert float(rows["aten::mkldnn_convolution"]["cpu_ms"]) > 0
    times = [float(row["cpu_ms"]) for row in rows.values()]
    assert times == sorted(times, reverse=True)
    with gzip.open(folder / "main.pt.trace.json.gz") as stream:
        names = {event.get("name") for event in json.load(stream)["traceEvents"]}
    assert {"dogbreed.forward", "dogbreed.backward", "aten::mkldnn_convolution"} <= names
    assert json.loads((folder / "window.json").read_text())["first_step"] == 2
    assert not list(folder.glob(".*"))


def test_a_run_that_ends_within_the_window_or_before(tree, tmp_path, caplog):
    train(tree, tmp_path / "within", "diagnose.profile=true", "diagnose.profile_start_step=5")  # of six
    assert (tmp_path / "within" / "profile" / "operators.csv").exists()
    train(tree, tmp_path / "before", "diagnose.profile=true", "diagnose.profile_start_step=50")
    assert not (tmp_path / "before" / "profile").exists()
    assert "nothing was profiled: training ended before step 50; lower diagnose.profile_start_step." in caplog.text


@pytest.mark.parametrize("name", ["start_step", "num_steps"])
def test_a_window_of_nothing(name):
    with pytest.raises(UserError, match=rf"diagnose\.profile_{name}=0 must be at least 1"):
        Profiler(Path("profile"), **{name: 0})


# -- a run that hangs ----------------------------------------------------------


STALLED = ("diagnose.rules.stalled_training.threshold=1.2", "diagnose.system_every_s=0.1")
HANGS = "+callbacks.hang._target_=rank_callbacks.Hangs"


def test_a_run_that_hangs_says_where(tree, tmp_path, caplog):
    train(tree, tmp_path / "run", *STALLED, HANGS)
    row = verdicts_of(tmp_path / "run")["stalled_training"]
    assert (row["verdict"], row["first_step"], row["count"]) == ("issue", 2, 1)  # of step 3 we have not heard
    assert "s, in rank_callbacks.py:" in row["evidence"]
    assert "(on_train_batch_end), called by run.py:" in row["evidence"]
    assert "stalled_training, step 2: nothing has moved for" in caplog.text


@pytest.mark.slow
def test_a_run_that_hangs_is_interrupted(tree, tmp_path):
    """By a real signal, in a process of its own; it could still save, and goes on from there."""
    options = [*QUICK, *FROM_SCRATCH, "data=folder", f"data.root='{tree}'", *STALLED, "diagnose.on_issue=stop", HANGS]
    assert children.run(options, tmp_path / "run") == 130
    assert "stalled_training, step 2: nothing has moved for" in children.said(tmp_path / "run")
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert state["state"] == "interrupted"
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_a_run_that_is_another_one_again(tree, tmp_path):
    similar = "diagnose.rules.similar_across_runs"
    train(tree, tmp_path / "first")
    for name, seed, verdict in (("again", 0, "issue"), ("other", 1, "ok")):
        other = [f"{similar}.other_run='{tmp_path / 'first'}'", f"{similar}.num_steps=5"]
        train(tree, tmp_path / name, f"seed={seed}", *other)
        assert verdicts_of(tmp_path / name)["similar_across_runs"]["verdict"] == verdict
    assert verdicts_of(tmp_path / "first")["similar_across_runs"]["verdict"] == "skipped"
    with pytest.raises(UserError, match=r"other_run=nowhere: there are no losses in nowhere"):
        rules.SimilarAcrossRuns(other_run="nowhere")


# -- TensorBoard ---------------------------------------------------------------


def test_a_sample_of_values():
    weights = torch.arange(100.0).view(10, 10, 1, 1)
    few = torch.tensor([1.0, 2.0])
    sample = sample_of([weights, few, weights.to(memory_format=torch.channels_last)], 16)
    assert sample.shape == (3, 16)
    assert sample[0, :15].tolist() == list(range(0, 100, 7))
    assert sample[1, :2].tolist() == [1, 2]
    assert sample[1].isnan().sum() == 14


def test_histograms_and_verdicts_for_the_board(tree, tmp_path):
    train(tree, tmp_path / "run", "logger=tensorboard", "diagnose.every_n_steps=3")
    folder = next((tmp_path / "run" / "tensorboard").rglob("*tfevents*")).parent
    board = EventAccumulator(str(folder), size_guidance={"histograms": 0, "tensors": 0})
    board.Reload()
    tags = board.Tags()
    assert {"gradient/conv1.0.weight", "weight/conv1.0.weight", "weight/fc.bias"} <= set(tags["histograms"])
    seen = board.Histograms("weight/fc.bias")
    assert [event.step for event in seen] == [1, 2, 3, 6]
    value = seen[-1].histogram_value
    assert value.num == 3  # one a class
    assert value.min < value.max
    (event,) = board.Tensors("rules/text_summary")
    assert "| vanishing_gradient | ok |" in event.tensor_proto.string_val[0].decode()
