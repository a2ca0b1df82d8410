"""When a run counts as lost, on numbers; real lost trials are in tests/sweeps/test_pruning.py."""

import math

import numpy as np
import pytest
from helpers import compose_quick

from dogbreed import UserError, fit_run
from dogbreed.config import resolve
from dogbreed.diagnosis import Finding, Rule, rules
from dogbreed.diagnosis.judge import Judge
from dogbreed.diagnosis.lost import has_learned
from dogbreed.diagnosis.observations import EpochEnd, StepLoss
from dogbreed.diagnosis.panel import RulePanel


def epoch(confusion, loss, step=100, number=3):
    confusion_KK = None if confusion is None else np.array(confusion)
    return EpochEnd(step, number, {"train/loss": loss, "val/acc_top1": 0.3}, confusion_KK)


GUESSING = [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
CONSTANT = [[9, 0, 0], [1, 0, 0], [2, 0, 0]]
LEARNED = [[6, 2, 1], [2, 6, 1], [1, 2, 6]]


@pytest.mark.parametrize(
    ("confusion", "loss", "answer"),
    [
        (GUESSING, math.log(3), False),
        (GUESSING, 1.6, False),
        (GUESSING, math.nan, False),
        (GUESSING, 0.9 * math.log(3), True),  # it begins slowly
        (LEARNED, 5.0, True),  # strong augmentation: only the training loss is high
        (CONSTANT, 2.0, False),  # three quarters are right, of a class that is three quarters
        (None, 2.0, None),
        ([[5]], 0.0, None),
        ([[5, 0], [0, 0]], 2.0, None),  # validation holds one class only
    ],
)
def test_what_counts_as_learning(confusion, loss, answer):
    assert has_learned(epoch(confusion, loss)) is answer


def test_nobody_learns_in_a_few_steps():
    assert has_learned(epoch(GUESSING, 2.0, step=19)) is None


class Blames(Rule):
    means_lost = True

    def look(self, seen):
        return Finding(seen.step, "it is so") if isinstance(seen, StepLoss) else None


class Mentions(Blames):
    means_lost = False


def judge(rule, on_issue="prune"):
    judge = Judge(RulePanel({"mine": rule()}), on_issue)
    judge.show([StepLoss(1, 1.0)])
    return judge


def test_it_takes_a_rule_and_a_network_that_has_never_learned():
    end = judge(Blames).why_lost(epoch(GUESSING, 2.0))
    assert end.issue == "mine"
    assert end.reason == "mine: it is so; after epoch 3 it has learned nothing (val/acc_top1 0.3)."
    assert judge(Mentions).why_lost(epoch(GUESSING, 2.0)) is None
    assert judge(Blames, "log").why_lost(epoch(GUESSING, 2.0)) is None
    assert judge(Blames).why_lost(epoch(None, 2.0)) is None
    learned = judge(Blames)
    assert learned.why_lost(epoch(LEARNED, 1.0)) is None
    assert learned.why_lost(epoch(GUESSING, 2.0)) is None  # it has forgotten again: its best weights are kept


def test_prune_never_stops_a_run_that_is_not_lost():
    assert not judge(Mentions).wants_stop
    assert not judge(Blames).wants_stop
    assert judge(Mentions, "stop").wants_stop


def test_rules_about_speed_and_data_end_no_trial():
    lost = {name for name in rules.__all__ if getattr(getattr(rules, name), "means_lost", False)}
    assert lost == {
        *("VanishingGradient", "ExplodingTensor", "SaturatedActivation", "DeadRelu", "AllZero", "UnchangedTensor"),
        *("WeightUpdateRatio", "LossNotDecreasing"),
    }


@pytest.mark.parametrize(
    ("is_trial", "more", "action"),
    [
        (False, [], "log"),
        (True, [], "log"),
        (True, ["trial.storage=x", "trial.study=y", "trial.number=0"], "prune"),
        (False, ["trial.storage=x", "trial.study=y", "trial.number=0"], "log"),
        (True, ["trial.storage=x", "trial.study=y", "trial.number=0", "diagnose.on_issue=log"], "log"),
        (True, ["diagnose.on_issue=prune"], "prune"),
    ],
)
def test_what_auto_means(tree, is_trial, more, action):
    assert resolve(compose_quick(tree, *more), is_trial=is_trial)[0].diagnose.on_issue == action


def test_an_action_that_does_not_exist(tree, tmp_path):
    with pytest.raises(UserError, match=r"diagnose.on_issue=halt is unknown; use log, prune, stop or fail"):
        fit_run(compose_quick(tree, "diagnose.on_issue=halt"), tmp_path / "run")


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_trial_is_left_in_peace(tree, tmp_path, seed):
    more = ["finetune=full", "diagnose.on_issue=prune", f"seed={seed}", "optim.lr=1e-3", "trainer.max_epochs=8"]
    assert fit_run(compose_quick(tree, *more), tmp_path / "run", is_trial=True).early_end is None
