"""What the hook saves is what happened, read back with smdebug's own trials and rules."""

import json
import logging

import numpy as np
import pytest
from helpers import compose_quick, rows_of
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from trials import EVAL, LOSS, TRAIN, assert_untouched, every_step, fit, numbers, series, smd

from dogbreed import UserError, fit_run
from dogbreed.diagnosis import SmdebugHook


class Keep(Callback):
    """What the hook must have seen, seen by another."""

    def __init__(self):
        self.weights, self.gradients, self.losses = [], [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.weights.append(module.net.conv1[0].weight.detach().float().clone())

    def on_before_optimizer_step(self, trainer, module, optimizer):
        grad = module.net.conv1[0].weight.grad
        self.gradients.append(None if grad is None else grad.float().clone())

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if not trainer.sanity_checking:
            self.losses.append(float(outputs))


def trial_of(folder):
    return smd.create_trial(str(folder / "smdebug"))


# -- steps -------------------------------------------------------------------


def test_accumulated_batches_are_one_step(tree, tmp_path):
    keep = Keep()
    fit(tmp_path, tree, every_step(), callbacks=[keep], batch_size=4, trainer={"accumulate_grad_batches": 4})
    trial = trial_of(tmp_path)  # 6 batches: two steps an epoch, of 4 and of 2
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "steps.csv")]
    assert numbers(trial, LOSS) == pytest.approx(dict(enumerate(losses)), rel=1e-5)
    assert len(losses) == 4
    for step, gradient in series(trial, "gradient/ResNet_conv1.0.weight").items():
        np.testing.assert_allclose(gradient, keep.gradients[step].numpy(), rtol=1e-6)
    for step, weight in series(trial, "ResNet_conv1.0.weight").items():
        np.testing.assert_allclose(weight, keep.weights[(0, 4, 6, 10)[step]].numpy(), rtol=1e-6)
    assert len(trial.tensor("ResNet_conv1.0.weight").steps(mode=TRAIN)) == 4
    assert list(numbers(trial, LOSS, EVAL).values()) == pytest.approx(keep.losses)


@pytest.mark.parametrize("num_views", [0, 2], ids=["pictures", "features"])
def test_layers_that_are_unfrozen_later(tree, tmp_path, num_views):
    tuned = {"mode": "head_then_full", "head_epochs": 1}
    classifier = fit(tmp_path, tree, every_step(), epochs=2, finetune=tuned, data={"num_views": num_views})
    trial = trial_of(tmp_path)
    assert trial.tensor("gradient/ResNet_fc.weight").steps(mode=TRAIN) == list(range(6))
    assert trial.tensor("gradient/ResNet_conv1.0.weight").steps(mode=TRAIN) == [3, 4, 5]
    assert "gradient/ResNet_conv1.0.weight" in trial.tensor_names(collection="gradients")
    assert_untouched(classifier)


def test_bfloat16(tree, tmp_path):
    keep = Keep()
    fit(tmp_path, tree, every_step(save_all=True), callbacks=[keep], epochs=1, trainer={"precision": "bf16-true"})
    trial = trial_of(tmp_path)
    for step, gradient in series(trial, "gradient/ResNet_conv1.0.weight").items():
        assert gradient.dtype == np.float32
        np.testing.assert_array_equal(gradient, keep.gradients[step].numpy())


def test_a_run_that_goes_on_has_the_steps_of_one_that_was_not_interrupted(tree, tmp_path):
    class Fails(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if trainer.global_step == 4:
                raise ZeroDivisionError

    keep = {"enable_checkpointing": True}
    fit(tmp_path / "whole", tree, every_step(), epochs=3)
    last = ModelCheckpoint(tmp_path / "parts", "last")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "parts", tree, every_step(), epochs=3, callbacks=[last, Fails()], trainer=keep)
    assert list(numbers(trial_of(tmp_path / "parts"), LOSS)) == [0, 1, 2, 3]
    (tmp_path / "parts" / "smdebug" / "claim.smd").touch()  # as a kill would leave it
    fit(tmp_path / "parts", tree, every_step(), epochs=3, ckpt_path=tmp_path / "parts" / "last.ckpt")
    whole, parts = (trial_of(tmp_path / name) for name in ("whole", "parts"))
    for mode in (TRAIN, EVAL):
        assert numbers(parts, LOSS, mode) == pytest.approx(numbers(whole, LOSS, mode))
        for step in whole.steps(mode=mode):
            assert parts.global_step(mode, step) == whole.global_step(mode, step)
    assert parts.tensor_names() == whole.tensor_names()


# -- comes and goes ----------------------------------------------------------


def test_nothing_is_left_and_nothing_is_compiled(tree, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    classifier = fit(tmp_path, tree, every_step(save_all=True), epochs=1, compile=True)
    assert [r.getMessage() for r in caplog.records if r.getMessage().startswith("hook")] == [
        "hook    model.compile is switched off: compiled code calls no hooks"
    ]
    assert_untouched(classifier)


@pytest.mark.parametrize("moment", ["training_loss", "on_before_optimizer_step", "on_validation_batch_start"])
def test_nothing_is_left_of_a_run_that_fails(tree, tmp_path, monkeypatch, moment):
    seen = []

    class Fails(Callback):
        def setup(self, trainer, module, stage):
            seen.append(module)
            if moment == "training_loss":
                monkeypatch.setattr(module.training_loss, "forward", self.fail)

        def fail(self, *_, **__):
            raise ZeroDivisionError

        def on_before_optimizer_step(self, *_):
            if moment == "on_before_optimizer_step":
                self.fail()

        def on_validation_batch_start(self, trainer, *_):
            if moment == "on_validation_batch_start" and not trainer.sanity_checking:
                self.fail()

    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, tree, every_step(save_all=True), callbacks=[Fails()], epochs=1)
    assert_untouched(seen[0])
    assert (tmp_path / "smdebug" / "training_job_end.ts").exists()  # who reads along is told that it has ended
    fit(tmp_path, tree, every_step(), epochs=1)  # in the same process and folder
    assert list(numbers(trial_of(tmp_path), LOSS)) == [0, 1, 2]


def test_two_hooks_at_once(tree, tmp_path):
    with pytest.raises(UserError, match=r"^Two callbacks are SmdebugHook"):
        fit(tmp_path, tree, every_step(), callbacks=[every_step()])
    theirs = smd.Hook(str(tmp_path / "theirs"))
    try:
        with pytest.raises(UserError, match=rf"^smdebug has a hook in this process already, .* {tmp_path}/theirs"):
            fit(tmp_path, tree, every_step())
        assert smd.get_hook() is theirs
    finally:
        theirs.close()
        smd.del_hook()


def test_another_folder(tree, tmp_path):
    fit(tmp_path, tree, every_step(out_dir=str(tmp_path / "mine")), epochs=1)
    assert not (tmp_path / "smdebug").exists()
    (tmp_path / "smdebug" / "index").mkdir(parents=True)  # a Trainer of one's own may write where anything is
    (tmp_path / "smdebug" / "index" / "kept").touch()
    fit(tmp_path, tree, every_step(), epochs=1)
    assert (tmp_path / "smdebug" / "index" / "kept").exists()
    with pytest.raises(UserError, match=r"^diagnose.hook.out_dir=.*/mine holds a trial already: name another"):
        fit(tmp_path, tree, every_step(out_dir=str(tmp_path / "mine")), epochs=1)


# -- in a job ----------------------------------------------------------------

JOB = {
    "S3OutputPath": "s3://bucket/prefix",
    "HookParameters": {"save_interval": "2", "include_workers": "all"},
    "CollectionConfigurations": [
        {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1", "eval.save_interval": "100"}},
        {"CollectionName": "gradients", "CollectionParameters": {"reductions": "mean,abs_max", "start_step": "2"}},
        {"CollectionName": "first", "CollectionParameters": {"include_regex": "conv1.0_output", "save_steps": "1"}},
    ],
}


def test_a_job_says_what_is_saved(tree, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "debughookconfig.json"
    file.write_text(json.dumps(JOB | {"LocalPath": str(tmp_path / "tensors")}))
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(file))
    monkeypatch.setenv("TRAINING_JOB_NAME", "job")
    fit(tmp_path, tree, SmdebugHook(scalars=False))
    trial = smd.create_trial(str(tmp_path / "tensors"), range_steps=(0, 100))
    assert not (tmp_path / "tensors" / "training_job_end.ts").exists()  # SageMaker says so itself
    assert list(numbers(trial, LOSS)) == [0, 1, 2, 3, 4, 5]
    assert list(numbers(trial, LOSS, EVAL)) == [0]
    assert trial.tensor("gradient/ResNet_fc.weight").steps(mode=TRAIN) == [2, 4]
    assert trial.tensor("gradient/ResNet_fc.weight").reduction_value(2, "max", mode=TRAIN, abs=True) > 0
    assert trial.tensor("conv1.0_output_0").steps(mode=TRAIN) == [0, 1, 2, 4]
    said = [record.getMessage() for record in caplog.records]
    assert f"hook    smdebug saves to {tmp_path}/tensors, configured by {file}" in said
    assert "hook    include_workers=all: only the main rank saves" in said


def test_what_smdebug_cannot_take(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(tmp_path / "job.json"))
    for name, parameters, reason in (
        ("weights", {"reductions": "median"}, "reductions can only be one of"),
        ("mine", {}, "Collection mine has not been configured"),
    ):
        entry = {"CollectionName": name, "CollectionParameters": parameters}
        config = {"LocalPath": str(tmp_path / "tensors"), "CollectionConfigurations": [entry]}
        (tmp_path / "job.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=rf"^smdebug cannot take .*/job.json: {reason}"):
            fit(tmp_path, tree, SmdebugHook())
        assert smd.get_hook() is None


# -- several devices ---------------------------------------------------------


@pytest.mark.slow
def test_the_main_rank_saves(tree, tmp_path):
    more = (
        "diagnose/hook=smdebug",
        "diagnose.hook.save_interval=1",
        "diagnose.hook.reductions=null",
        "model.dropout=0",
        "finetune.batchnorm=frozen",  # each rank would have statistics of its own
    )
    one = fit_run(compose_quick(tree, *more), tmp_path / "one")
    two = fit_run(compose_quick(tree, *more, "trainer.devices=2"), tmp_path / "two")
    ones, twos = trial_of(one.run_dir), trial_of(two.run_dir)
    assert list(twos.workers()) == ["worker_0"]
    for name in ("gradient/ResNet_conv1.0.weight", "ResNet_conv1.0.weight"):
        for step, value in series(ones, name).items():
            np.testing.assert_allclose(series(twos, name)[step], value, atol=1e-5)
