"""The average of the weights: its arithmetic, what sees it, and that it survives a restart."""

import math

import lightning as L
import pytest
import torch
from helpers import QUICK

from dogbreed import ImageClassifier, ImageDataModule, UserError, compose, fit_run, load_model
from dogbreed.fit.average import WeightAverage, update_average


def make(tree, epochs, *callbacks, **options):
    L.seed_everything(0, verbose=False)
    model = ImageClassifier("test_resnet", ("blue", "green", "red"), pretrained=False, input_size_px=32)
    data = ImageDataModule(tree, preprocessing=model.preprocessing, batch_size=8)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0,
             "enable_model_summary": False}  # fmt: skip
    return model, data, L.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), **quiet, **options)


class History(L.Callback):
    """The weights after each step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, module, *_):
        self.weights.append(module.net.fc.weight.detach().clone())


def test_the_average_is_that_of_the_formula(tree):
    history, average = History(), WeightAverage(horizon=0.5)
    model, data, trainer = make(tree, 4, history, average)
    start = model.net.fc.weight.detach().clone()
    trainer.fit(model, data)
    expected = start
    for n, weights in enumerate(history.weights, 1):
        decay = min(math.exp(-1 / (0.5 * 12)), (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weights
    assert len(history.weights) == 12
    kept = average._average.fc.weight
    assert torch.allclose(kept, expected, atol=1e-6)
    assert not torch.allclose(kept, history.weights[-1], atol=1e-4)
    assert torch.equal(model.net.fc.weight, history.weights[-1])  # training itself is left alone


def test_accumulated_gradients_are_one_step(tree):
    average = WeightAverage()
    model, data, trainer = make(tree, 2, average, accumulate_grad_batches=3)
    trainer.fit(model, data)
    assert average._num_updates == trainer.global_step == 2


def test_validation_and_the_model_folder_see_the_average(tree, tmp_path):
    overrides = [*QUICK, "data=folder", f"data.root='{tree}'", "ema=default", "ema.horizon=0.5", "trainer.max_epochs=3"]
    result = fit_run(compose(overrides), tmp_path / "run")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert not torch.equal(best["state_dict"]["net.fc.weight"], best["training_state_dict"]["net.fc.weight"])
    assert torch.equal(load_model(result.run_dir).net.fc.weight, best["state_dict"]["net.fc.weight"])
    rows = (tmp_path / "run" / "metrics.csv").read_text()
    assert f"{result.metrics['val/loss']:.3f}"[:4] in rows  # measured at the end as it was during training


def test_a_restart_goes_on_with_both(tree, tmp_path):
    whole = WeightAverage(0.5)
    model, data, trainer = make(tree, 4, whole)
    trainer.fit(model, data)

    class Stop(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    half, data, trainer = make(tree, 4, WeightAverage(0.5), Stop())
    trainer.fit(half, data)
    rest = WeightAverage(0.5)
    again, data, trainer = make(tree, 4, rest)
    trainer.fit(again, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert torch.equal(again.net.fc.weight, model.net.fc.weight)
    assert torch.equal(rest._average.fc.weight, whole._average.fc.weight)


def test_half_precision_is_averaged_in_full(tree):
    average = WeightAverage()
    model, data, trainer = make(tree, 1, average, precision="bf16-true")
    trainer.fit(model, data)
    assert model.net.fc.weight.dtype == torch.bfloat16
    assert average._average.fc.weight.dtype == torch.float32


def test_validation_without_training_is_of_the_weights_as_they_are(tree):
    model, data, trainer = make(tree, 1, WeightAverage())
    before = model.net.fc.weight.detach().clone()
    trainer.validate(model, data, verbose=False)
    assert torch.equal(model.net.fc.weight, before)


def test_counters_are_copied():
    old, new = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    new.num_batches_tracked += 7
    new.running_mean += 4
    update_average(old, new, 0.75)
    assert old.num_batches_tracked == 7
    assert old.running_mean.tolist() == [1, 1]


@pytest.mark.parametrize("horizon", [0.0, 1.0])
def test_a_horizon_out_of_range(horizon):
    with pytest.raises(UserError, match="ema.horizon="):
        WeightAverage(horizon)
