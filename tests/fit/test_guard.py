"""A loss that is no number any more."""

import json
import re

import pytest
import torch
from helpers import QUICK
from safetensors.torch import load_file, save_file

from dogbreed import ImageClassifier, UserError, compose, fit_run
from dogbreed.fit.guard import Suspects


def options(tree, *more):
    return [*QUICK, "data=folder", f"data.root='{tree}'", "optim=sgd", "augment=none", *more]


def spoil(monkeypatch, at_step):
    """From a step on, counted from 0, the loss is NaN, as a picture with a damaged value would make it."""
    step = ImageClassifier.training_step

    def spoilt(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        return loss * float("nan") if self.global_step >= at_step else loss

    monkeypatch.setattr(ImageClassifier, "training_step", spoilt)


def test_a_rate_far_too_high(cli, tree, tmp_path):
    """A real divergence: the sentence names step, pictures, cause and remedy; the same command does not loop."""
    more = options(tree, "optim.lr=1e18", "optim.warmup_fraction=0.5", "trainer.max_epochs=4", "hydra.run.dir=run")
    answer = cli("train", *more)
    assert answer.code == 2, answer.err
    assert answer.err.count("\n") == 1
    found = re.match(
        r"Error: The loss is (nan|inf) in step (\d+) \(epoch (\d+), batch \d+\): optim.lr=1e\+18 is far above what "
        r"fits here; try optim.lr=0.025. Its pictures: train/\w+/\w+.jpg, .* and 3 more. Checkpoints from before are",
        answer.err,
    )
    assert found, answer.err
    assert int(found[2]) > 1
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (state["state"], state["is_resumable"]) == ("failed", False)
    assert not (tmp_path / "run" / "run.lock").exists()


@pytest.mark.parametrize("every_s", ["0", "null"])
def test_the_last_good_checkpoint_is_kept(tree, tmp_path, monkeypatch, every_s):
    spoil(monkeypatch, at_step=4)  # the second step of the second epoch
    cfg = compose(options(tree, f"checkpoint_every_s={every_s}"))
    with pytest.raises(UserError, match=r"The loss is nan in step 5 \(epoch 2, batch 2\)") as error:
        fit_run(cfg, tmp_path / "run")
    kept = [tmp_path / "run" / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    for file, step in zip(kept, (3, 4 if every_s == "0" else 3), strict=True):
        checkpoint = torch.load(file, weights_only=True)
        assert checkpoint["global_step"] == step
        assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    pictures = re.search(r"Its pictures: (.*) and 3 more", str(error.value))[1].split(", ")
    assert len(pictures) == 5
    assert all((tree / picture).is_file() for picture in pictures)
    # It would only fail again; by its name it is tried once more, and on another machine it may succeed.
    with pytest.raises(UserError, match=r"would only fail again .*The loss is nan.* resume=RUN_FOLDER"):
        fit_run(cfg, tmp_path / "run")
    monkeypatch.undo()
    fit_run(compose([*options(tree), f"resume='{tmp_path / 'run'}'"]), tmp_path / "run")


def test_a_command_does_not_go_on_with_it(cli, tree, tmp_path, monkeypatch):
    spoil(monkeypatch, at_step=4)
    assert cli("train", *options(tree)).code == 2
    monkeypatch.undo()
    answer = cli("train", *options(tree))
    assert answer.code == 0, answer.err
    assert "resume" not in answer.out
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_damaged_weights(finished_run, tree, tmp_path):
    weights = load_file(finished_run.model_dir / "model.safetensors")
    next(tensor for tensor in weights.values() if tensor.ndim == 4)[0] = float("nan")
    save_file(weights, tmp_path / "broken.safetensors")
    cfg = compose(options(tree, f"model.weights='{tmp_path / 'broken.safetensors'}'", "finetune=full"))
    with pytest.raises(UserError, match=r"step 1 .*the weights of model.weights=.*broken.safetensors .* are damaged"):
        fit_run(cfg, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_likely_causes():
    suspects = Suspects(lr=0.1, auto_lr=0.1, precision="16-mixed")
    assert "trainer.precision=16-mixed cannot hold" in suspects.cause(3)
    assert "try optim.lr=0.01 or trainer.gradient_clip_val" in Suspects(0.1, None, "32-true").cause(3)
    assert "nothing was learned yet" in suspects.cause(0)


def test_a_validation_loss_that_is_no_number_is_never_the_best(tree, tmp_path, monkeypatch):
    step = ImageClassifier.validation_step
    epochs = iter([True, True, True, False])

    def spoilt(self, batch, batch_idx):
        step(self, batch, batch_idx)
        if batch_idx == 0 and next(epochs):
            self.val_metrics.loss_sum += float("nan")

    monkeypatch.setattr(ImageClassifier, "validation_step", spoilt)
    fit_run(compose(options(tree, "objective=val/loss", "trainer.max_epochs=4")), tmp_path / "run")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 3
