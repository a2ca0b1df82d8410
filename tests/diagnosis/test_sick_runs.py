"""Real training runs that are really sick, and healthy ones: what the default rules say of them."""

import json
import re
import time

import lightning as L
import numpy as np
import pytest
import timm
import torch
from helpers import COLORS, compose_quick, make_tree, save_picture
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from dogbreed import ImageClassifier, UserError, compose, fit_run
from dogbreed.diagnosis import Finding, Monitor, Rule, rules
from dogbreed.diagnosis.observations import StepLoss

FROM_SCRATCH = ("finetune=full", "data.cache=none")


def verdicts(folder):
    return {row["name"]: row for row in json.loads((folder / "diagnosis.json").read_text())}


def issues(folder):
    return {name for name, row in verdicts(folder).items() if row["verdict"] == "issue"}


def train(root, folder, *more):
    return fit_run(compose_quick(root, *FROM_SCRATCH, *more), folder)


def changed_weights(tmp_path, change):
    torch.manual_seed(0)
    net = timm.create_model("test_resnet")
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                change(name, tensor)
    file = tmp_path / "weights.pth"
    torch.save(net.state_dict(), file)
    return f"model.weights='{file}'"


def test_weights_of_nothing_but_zeros(tree, tmp_path):
    weights = changed_weights(tmp_path, lambda _, tensor: tensor.zero_())
    train(tree, tmp_path / "run", weights, "trainer.max_epochs=3")
    found = issues(tmp_path / "run")
    assert {"vanishing_gradient", "all_zero", "dead_relu", "poor_weight_initialization"} <= found


def test_a_learning_rate_of_10_000(tree, tmp_path):
    try:
        train(tree, tmp_path / "run", "optim.lr=1e4", "trainer.max_epochs=4")
    except UserError as error:
        assert "optim.lr" in str(error)  # noqa: PT017 -- it may also get through on large numbers
    assert {"weight_update_ratio", "exploding_tensor"} & issues(tmp_path / "run")


def test_a_loss_that_stands_still(tree, tmp_path):
    more = ["optim.lr=1e-12", "trainer.max_epochs=6", "augment=none", "diagnose.every_n_steps=4"]
    windows = ["diagnose.rules.loss_not_decreasing.num_steps=3", "diagnose.rules.loss_not_decreasing.patience=3"]
    train(tree, tmp_path / "run", *more, *windows)
    row = verdicts(tmp_path / "run")["loss_not_decreasing"]
    assert row["verdict"] == "issue"
    assert "has not fallen below" in row["evidence"]
    assert "weight_update_ratio" in issues(tmp_path / "run")


def test_labels_that_mean_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("valid", 12)):
        for number in range(count):
            label = ("a", "b", "c")[number % 3]
            save_picture(tmp_path / "data" / split / label / f"{number}.jpg", rng.integers(0, 256, 3), number)
    more = ["augment=none", "optim.lr=3e-3", "trainer.max_epochs=25", "loss.label_smoothing=0"]
    train(tmp_path / "data", tmp_path / "run", *more)
    assert "overfit" in issues(tmp_path / "run")


def test_a_class_with_two_pictures(tmp_path):
    root = make_tree(tmp_path / "data", {"train": 24, "valid": 8})
    for file in sorted((root / "train" / "red").iterdir())[2:]:
        file.unlink()
    for number in range(8):  # which look like the blue ones
        save_picture(root / "valid" / "red" / f"red_{number}.jpg", COLORS["blue"], 1000 + number)
    train(root, tmp_path / "run", "optim.lr=3e-3")
    row = verdicts(tmp_path / "run")["class_imbalance"]
    assert row["evidence"].startswith("red has 2 training pictures, the largest class 24; ")


def test_relus_that_are_dead(tree, tmp_path):
    def push_down(name, tensor):
        if name.endswith("bias") and tensor.dim() == 1 and "bn" in name:
            tensor.fill_(-100.0)

    train(tree, tmp_path / "run", changed_weights(tmp_path, push_down))
    row = verdicts(tmp_path / "run")["dead_relu"]
    assert row["first_step"] == 1
    assert "of the channels give 0 for every picture in" in row["evidence"]


def test_pixels_that_nobody_has_normalised(tmp_path):
    generator = torch.Generator().manual_seed(0)
    batches = [(255 * torch.rand(16, 3, 32, 32, generator=generator), torch.arange(16) % 3) for _ in range(8)]
    found = run_with_rules(batches, {"check_input_images": rules.CheckInputImages()}, every_n_steps=1)
    assert "the channels of 64 pictures are 12" in found["check_input_images"]["evidence"]


class Slow:
    """A data set whose pictures take their time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 240

    def __getitem__(self, index):
        time.sleep(self.seconds(index))
        return torch.randn(3, 32, 32), index % 3


def test_a_loader_that_sleeps():
    loader = DataLoader(Slow(lambda _: 0.02), batch_size=4)
    row = run_with_rules(loader, {"dataloader": rules.Dataloader()})["dataloader"]
    assert row["verdict"] == "issue"
    assert row["values"]["share"] > 50
    assert "with 0 loader processes on" in row["evidence"]


def test_single_steps_that_take_long():
    loader = DataLoader(Slow(lambda index: 0.25 if index in (100, 200) else 0), batch_size=4)
    row = run_with_rules(loader, {"step_outlier": rules.StepOutlier(n_outliers=1)})["step_outlier"]
    assert row["verdict"] == "issue"
    # A busy machine may add one of its own.
    assert re.match(r"[2-5] of 57 steps took more than", row["evidence"])


def run_with_rules(loader, chosen, **more):
    """Train as a user of the library does; return the verdicts by rule."""
    torch.manual_seed(0)
    classifier = ImageClassifier("test_resnet", list(COLORS), pretrained=False, input_size_px=32)
    monitor = Monitor(chosen, **more)
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, callbacks=[monitor])  # fmt: skip
    trainer.fit(classifier, DataLoader(loader, batch_size=None) if isinstance(loader, list) else loader)
    return {row["name"]: row for row in monitor.panel.table()}


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_run_is_left_in_peace(tree, tmp_path, seed, caplog):
    caplog.set_level("INFO")
    train(tree, tmp_path / "run", f"seed={seed}", "optim.lr=1e-3", "trainer.max_epochs=6")
    assert issues(tmp_path / "run") == set()
    assert "rules   none of 27 found something" in caplog.text


def test_branches_that_begin_at_zero_are_no_issue(tree, tmp_path):
    """Of ResNets from scratch, whose residual branches have no gradient in the first step."""
    train(tree, tmp_path / "run", "model=resnet18", "model.pretrained=false", "trainer.max_epochs=1")
    assert issues(tmp_path / "run") == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_default_recipe_is_left_in_peace(tmp_path, seed):
    fit_run(compose([f"seed={seed}", "logger=none"]), tmp_path / "run")
    assert issues(tmp_path / "run") == set()


# -- what is done about it -----------------------------------------------------


class Never(Rule):
    """Finds fault with every loss."""

    advice = "Do not mind."

    def look(self, seen):
        return Finding(seen.step, "a loss") if isinstance(seen, StepLoss) and seen.step == 4 else None


MINE = f"+diagnose.rules.mine._target_={__name__}.Never"


def test_a_rule_of_ones_own_in_one_line(tree, tmp_path, caplog):
    train(tree, tmp_path / "run", MINE)
    assert verdicts(tmp_path / "run")["mine"]["verdict"] == "issue"
    assert "mine, step 4: a loss. Do not mind." in caplog.text


def test_stop_ends_training_and_measures(tree, tmp_path):
    run = train(tree, tmp_path / "run", MINE, "diagnose.on_issue=stop", "trainer.max_epochs=9")
    assert "test/acc_top1" in run.metrics
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3  # 4 steps are in epoch 2


def test_fail_ends_the_run_with_the_sentence(tree, tmp_path):
    with pytest.raises(UserError, match=r"diagnose\.on_issue=fail: mine, step 4: a loss\. Do not mind\."):
        train(tree, tmp_path / "run", MINE, "diagnose.on_issue=fail")
    assert issues(tmp_path / "run") == {"mine"}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("diagnose.on_issue=shout", r"diagnose\.on_issue=shout is unknown; use log, prune, stop or fail"),
        ("diagnose.system_every_s=0", r"diagnose\.system_every_s=0 must be above 0"),
        ("diagnose.every_n_steps=0", r"diagnose\.every_n_steps=0 must be at least 1; diagnose=none looks at nothing"),
        ("diagnose.rules.dead_relu.threshold_layer=200", r"dead_relu\.threshold_layer=200 must be between 0 and 100"),
        (
            "+diagnose.rules.dead_relu.treshold_layer=1",
            r"^diagnose\.rules\.dead_relu\.treshold_layer does not exist. Did you mean threshold_layer",
        ),
        ("diagnose.rules.overfit=none", r"^diagnose\.rules\.overfit=none is no rule: null leaves it out"),
    ],
)
def test_wrong_settings(tree, tmp_path, override, sentence):
    with pytest.raises(UserError, match=sentence):
        train(tree, tmp_path / "run", override)


def test_none_looks_at_nothing(tree, tmp_path):
    train(tree, tmp_path / "run", "diagnose=none")
    assert not (tmp_path / "run" / "diagnosis.json").exists()


class Quiet(Callback):
    """Nothing is left on the network after a look."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        assert not any(module._forward_hooks for module in pl_module.net.modules())


def test_looking_changes_nothing(tree, tmp_path):
    seen = train(tree, tmp_path / "seen", "diagnose.every_n_steps=1")
    blind = train(tree, tmp_path / "blind", "diagnose=none")
    for key in ("train/loss", "val/loss", "test/loss"):
        assert seen.metrics[key] == blind.metrics[key]
    run_with_rules([(torch.rand(4, 3, 32, 32), torch.arange(4) % 3)] * 3, {"dead_relu": rules.DeadRelu()})
