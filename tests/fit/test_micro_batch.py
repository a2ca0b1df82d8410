"""A batch in several passes: the same learning as in one, whatever counts batches."""

import pytest
import torch
from helpers import rows_of
from omegaconf import OmegaConf
from rank_runs import assert_same_run, options

from dogbreed import ImageDataModule, UserError, compose, fit_run
from dogbreed.config import resolve
from dogbreed.data.passes import num_passes
from dogbreed.fit.checkpoint_file import RUN_KEY, read_checkpoint
from dogbreed.fit.passes import trainer_in_passes
from dogbreed.fit.run import _too_large

# All that a step depends on: warm-up and cosine, clipping, an average, weighted classes, and a step of one batch at the
# end of each epoch (24 pictures in 3 batches, 2 a step). The network has no statistics that differ with the batch.
RECIPE = (
    *("model.architecture=test_vit", "optim=sgd", "optim.lr=0.3", "trainer.max_epochs=2", "augment=standard"),
    *("trainer.gradient_clip_val=1.0", "trainer.accumulate_grad_batches=2", "ema=default", "ema.horizon=0.2"),
    "loss.class_weights=balanced",
)


@pytest.fixture(scope="module")
def overrides(odd_tree):
    return options(odd_tree, *RECIPE)


@pytest.fixture(scope="module")
def whole(overrides, tmp_path_factory):
    return fit_run(compose(overrides), tmp_path_factory.mktemp("whole") / "run").run_dir


@pytest.fixture(scope="module")
def in_passes(overrides, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("passes") / "run"
    return fit_run(compose([*overrides, "data.micro_batch_size=3"]), run_dir).run_dir


def test_passes_learn_what_whole_batches_learn(whole, in_passes):
    assert_same_run(whole, in_passes)
    rows = rows_of(in_passes / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [2, 4]
    for row in rows:  # every picture counts once
        assert float(row["images_per_second"]) * float(row["seconds"]) == pytest.approx(24, rel=0.1)
    # Rules and steps.csv see a step's whole loss.
    losses = [[(row["step"], float(row["loss"])) for row in rows_of(run / "steps.csv")] for run in (whole, in_passes)]
    assert [step for step, _ in losses[0]] == [step for step, _ in losses[1]] == ["1", "2", "3", "4"]
    assert [loss for _, loss in losses[0]] == pytest.approx([loss for _, loss in losses[1]], abs=1e-5)
    # And there was something to learn: far more than what is let pass.
    begun, ended = (losses[0][place][1] for place in (0, -1))
    assert abs(ended - begun) > 0.1


@pytest.mark.slow
def test_two_devices_in_passes(overrides, whole, tmp_path):
    run = fit_run(compose([*overrides, "data.micro_batch_size=3", "trainer.devices=2"]), tmp_path / "run")
    assert_same_run(whole, run.run_dir)


@pytest.mark.slow
def test_frozen_statistics_in_passes(odd_tree, weights, tmp_path):
    more = (f"model.weights='{weights}'", "finetune=head_then_full", "optim=sgd", "optim.lr=0.3")
    overrides = options(odd_tree, *more, "trainer.max_epochs=3")
    run, theirs = (
        fit_run(compose([*overrides, f"data.micro_batch_size={most}"]), tmp_path / str(most)) for most in (2, "null")
    )
    assert_same_run(theirs.run_dir, run.run_dir)


@pytest.mark.slow
def test_a_run_goes_on_between_two_steps(overrides, whole, tmp_path):
    """Interrupted after a step within an epoch, whose place is told in whole batches."""
    more = [*overrides, "data.micro_batch_size=3", "checkpoint_every_s=0"]
    callback = ["+callbacks.end._target_=micro_batch_callbacks.EndAfter", "+callbacks.end.step=3"]
    with pytest.raises(KeyboardInterrupt):
        fit_run(compose([*more, *callback]), tmp_path / "run")
    run = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", only_look=True)[RUN_KEY]
    assert (run["epoch"], run["batch"], run["num_batches"]) == (1, 2, 3)
    again = fit_run(compose([*more, *callback]), tmp_path / "run")
    assert_same_run(whole, again.run_dir)


@pytest.mark.slow
def test_features_are_small_and_come_whole(odd_tree, weights, tmp_path, monkeypatch):
    seen = []
    plain = torch.nn.Module.__call__

    def noting(self, *inputs, **named):
        if type(self).__name__ == "ByobNet" or (inputs and torch.is_tensor(inputs[0]) and inputs[0].dim() == 4):
            seen.append(len(inputs[0]))
        return plain(self, *inputs, **named)

    monkeypatch.setattr(torch.nn.Module, "__call__", noting)
    more = (
        f"model.weights='{weights}'",
        "finetune=head",
        "data.num_views=1",
        "data.cache=none",
        "trainer.max_epochs=1",
    )
    run = fit_run(compose(options(odd_tree, *more, "data.micro_batch_size=2")), tmp_path / "run")
    assert max(seen) == 2  # the backbone, in extraction and in evaluation
    (row,) = rows_of(run.run_dir / "metrics.csv")
    assert int(row["step"]) == 3
    assert float(row["images_per_second"]) * float(row["seconds"]) == pytest.approx(24, rel=0.1)


# -- arithmetic --------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "ranks", "most", "passes"),
    [(32, 1, None, 1), (32, 1, 64, 1), (32, 1, 32, 1), (32, 1, 31, 2), (32, 2, 10, 2), (30, 1, 16, 2), (30, 2, 7, 3),
     (31, 1, 30, 31), (1, 1, 1, 1), (4, 4, 1, 1)],
)  # fmt: skip
def test_the_fewest_passes_that_are_equal(batch, ranks, most, passes):
    assert num_passes(batch, ranks, most) == passes
    assert batch % (ranks * passes) == 0


def test_the_recipe_stays_that_of_the_whole_batch(tree):
    photos = ["data=folder", "data.root=/p", "data.batch_size=128", "trainer.accumulate_grad_batches=2"]
    cfg, decided = resolve(compose([*photos, "data.micro_batch_size=16"]))
    whole = resolve(compose(photos))[0]
    assert cfg.optim.lr == whole.optim.lr
    assert decided["data.micro_batch_size"] == "16 (8 passes a batch)"
    assert cfg.trainer == whole.trainer  # the file that says how a run was made, in whole batches
    assert "data.micro_batch_size" not in resolve(compose([*photos, "data.micro_batch_size=128"]))[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"limit_train_batches": 1.0, "limit_val_batches": 1.0, "val_check_interval": None, "overfit_batches": 0}),
        (["limit_train_batches=2", "limit_val_batches=1"], {"limit_train_batches": 8, "limit_val_batches": 4}),
        (["limit_train_batches=0.7"], {"limit_train_batches": 8}),  # 2.1 of 3
        (["limit_train_batches=5.0"], {"limit_train_batches": 20}),
        (["val_check_interval=2", "check_val_every_n_epoch=null"], {"val_check_interval": 8}),
        (["val_check_interval=0.5"], {"val_check_interval": 4}),
        (["val_check_interval=0.5", "limit_train_batches=2"], {"val_check_interval": 4}),
        (["val_check_interval=1.0"], {"val_check_interval": 1.0}),
        (["overfit_batches=1"], {"overfit_batches": 4}),
        (["accumulate_grad_batches=3"], {"accumulate_grad_batches": 12}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_counts_batches_counts_whole_ones(words, expected, tree):
    data = ImageDataModule(tree, batch_size=8, micro_batch_size=2)
    trainer = compose([f"trainer.{word}" for word in words]).trainer
    changed = {**OmegaConf.to_container(trainer), **trainer_in_passes(trainer, data, data.num_passes)}
    for key, value in expected.items():
        assert (changed[key], type(changed[key])) == (value, type(value)), key
    assert trainer_in_passes(trainer, data, 1) == {}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["data.micro_batch_size=0"], r"data\.micro_batch_size=0 must be at least 1, or null"),
        (["data.micro_batch_size=many"], r"data\.micro_batch_size=many must be a whole number or null"),
        (["data.micro_batch_size=1", "augment=strong"], r"come one by one, with no other to mix with"),
        (["data.micro_batch_size=2", "trainer.limit_train_batches=0.1"], r"train_batches=0\.1 of 3 batches is none"),
        (["data.micro_batch_size=2", "trainer.overfit_batches=0.5"], r"batches=0\.5 .* give a number of batches"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(words, match, tree, tmp_path):
    with pytest.raises(UserError, match=match):
        fit_run(compose(options(tree, *words)), tmp_path / "run")


def test_memory_that_does_not_hold_the_pictures(tree):
    device = torch.device("cuda:0")
    whole = _too_large(device, ImageDataModule(tree, batch_size=8))
    assert whole.startswith("The memory of cuda:0 does not hold 8 pictures at once: set data.micro_batch_size=4;")
    assert "data.micro_batch_size=2;" in _too_large(device, ImageDataModule(tree, batch_size=8, num_ranks=2))
    assert "does not hold one picture: lower model.input_size_px" in _too_large(
        device, ImageDataModule(tree, batch_size=8, micro_batch_size=1)
    )


def test_evaluation_takes_as_many_as_training_or_as_it_is_told(in_passes, cli, monkeypatch):
    sizes = []
    plain = ImageDataModule._loader
    monkeypatch.setattr(
        ImageDataModule, "_loader", lambda *words: sizes.append((loader := plain(*words)).batch_size) or loader
    )
    for word in ("batch_size=null", "batch_size=5"):
        answer = cli("evaluate", f"run={in_passes}", word)
        assert answer.code == 0, answer.err
    assert sizes == [2, 5]
