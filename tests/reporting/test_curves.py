"""What learning curves are said to mean."""

import re

import numpy as np
import pytest

from dogbreed.files import write_csv
from dogbreed.reporting.curves import judge_curves, judge_steps
from dogbreed.reporting.run import load_run
from dogbreed.reporting.sections import curves_part

EPOCHS = np.arange(1.0, 21.0)
NAN = float("nan")


def kind(train, val, accuracy=None, num_classes=10):
    train, val = np.array(train, dtype=float), np.array(val, dtype=float)
    accuracy = np.full(len(train), 0.7) if accuracy is None else np.array(accuracy, dtype=float)
    return judge_curves(train, val, accuracy, num_classes).kind


def test_losses_that_level_off():
    fall = np.exp(-EPOCHS / 2)
    assert kind(0.3 + fall, 0.5 + fall) == "converging"


def test_a_loss_that_still_falls():
    verdict = judge_curves(3 - 0.1 * EPOCHS, 3.2 - 0.1 * EPOCHS, EPOCHS / 30, 10)
    assert verdict.kind == "still improving"
    assert "the last 5 epochs brought the validation loss from 1.7 to 1.2, 29 % less" in verdict.sentence


def test_a_validation_loss_that_rises_while_the_training_loss_falls():
    val = 1 + 0.02 * (EPOCHS - 8) ** 2
    verdict = judge_curves(2 / EPOCHS, val, np.full(20, 0.6), 10)
    assert verdict.kind == "overfitting"
    assert "lowest in epoch 8" in verdict.sentence
    # Not if training does not get better either, not for 4 %, and not one epoch after the lowest.
    assert kind(1.5 + 0 * EPOCHS, val) == "unsteady"
    assert kind(2 / EPOCHS, 1 + 0.04 * (EPOCHS > 8)) == "converging"
    assert kind([3, 2, 1], [2, 1, 1.5]) == "unsteady"


@pytest.mark.parametrize("train", [[2.0, 1.5, NAN], [2.0, 1.5, float("inf")], [2.0, 1.5, 2.3], [NAN]])
def test_a_training_loss_that_rises_or_is_no_number(train):
    assert kind(train, [1.0] * len(train)) == "diverging"
    assert kind([2.0, 1.5, 2.1], [1.0, 0.9, 0.8]) == "still improving"


def test_what_is_no_better_than_guessing():
    verdict = judge_curves(np.array([2.31, 2.30, 2.30]), np.array([2.3] * 3), np.array([0.09, 0.1, 0.11]), 10)
    assert verdict.kind == "not learning"
    assert "11.0 %, guessing gives 10.0 %" in verdict.sentence
    # A loss that falls from far above guessing is no learning, one that falls below it is.
    assert kind([6800, 46, 2.8], [50, 3, 2.7], [0.1] * 3) == "not learning"
    assert kind([2.3, 2.1, 1.9], [2.3, 2.1, 1.9], [0.1, 0.1, 0.12]) == "still improving"
    # Perfect from the first epoch on: nothing falls any more, and nothing has to.
    assert kind([0.01, 0.01, 0.01], [0.02, 0.02, 0.02], [0.99] * 3) == "converging"
    # Half of two classes is guessing.
    assert kind([0.7, 0.7], [0.7, 0.7], [0.5, 0.51], num_classes=2) == "not learning"


def test_too_little_to_say():
    assert kind([], []) == "too short"
    assert kind([2.0], [1.0]) == "too short"
    assert kind([2.0, 1.9, 1.8], [NAN, NAN, 1.0]) == "too short"


def test_epochs_without_validation_count_for_nothing():
    assert kind([3, 2.5, 2, 1.5], [NAN, 2.0, NAN, 1.0]) == "still improving"


def test_without_the_number_of_classes_nothing_is_compared_with_guessing():
    assert kind([2.31, 2.30], [2.3, 2.3], [0.1, 0.1], num_classes=None) == "converging"


def test_an_epoch_is_too_short_but_not_for_steps_that_diverge(tmp_path):
    write_csv(tmp_path / "metrics.csv", [{"epoch": 1, "train/loss": 7e16, "val/loss": 2e20, "val/acc_top1": 0.5}])
    write_csv(tmp_path / "steps.csv", [{"step": step + 1, "loss": 10.0**step, "seconds": 1} for step in range(9)])
    part = curves_part(load_run(tmp_path))
    assert part.verdict.kind == "diverging"
    assert "within 9 steps the loss went from 1 to" in part.verdict.sentence
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", part.figures[1].svg)
    assert [tick for tick in ticks if re.fullmatch(r"[\d.]+", tick)] == ["1"]  # the epoch, and no halves of it


def test_steps_of_an_unfinished_epoch():
    assert judge_steps(np.array([2.5, 2e9, 1e12, 1e18])).kind == "diverging"
    assert judge_steps(np.array([2.5, 2.4, 2.6, 2.2, 2.3, 2.1])).kind == "too short"
    assert judge_steps(np.array([NAN] * 6)).kind == "too short"
    assert judge_steps(np.array([])).kind == "too short"
