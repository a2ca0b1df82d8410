"""Rules by themselves: each fires on what is sick, once it is sure, and is silent on what is healthy."""

import json
import math
import re

import numpy as np
import pytest
from omegaconf import OmegaConf

from dogbreed import UserError, compose
from dogbreed.diagnosis import rules
from dogbreed.diagnosis.observations import (
    EpochEnd,
    InputStats,
    Setting,
    Silence,
    StepLoss,
    StepTimes,
    SystemSample,
    TensorStats,
)
from dogbreed.diagnosis.panel import RulePanel
from dogbreed.diagnosis.rule import rule_name

NAMES = ("stem.weight", "layer.weight", "layer.bias", "head.weight")
CPU = Setting(num_workers=1, num_cores=8, pin_memory=False, batch_size=32, accelerator="cpu", seconds=3.0)
GPU = Setting(num_workers=1, num_cores=8, pin_memory=False, batch_size=32, accelerator="cuda", seconds=3.0)


def tensors(kind, step=1, **columns):
    table = {name: np.asarray(values, dtype=np.float32) for name, values in columns.items()}
    return TensorStats(step, kind, NAMES, table)


def gradients(**columns):
    healthy = {
        "abs_mean": [1e-3] * 4,
        "std": [1e-3] * 4,
        "zero_share": [0.0] * 4,
        "num_nan": [0] * 4,
        "num_inf": [0] * 4,
    }
    return tensors("gradient", **(healthy | columns))


def weights(**columns):
    healthy = {"std": [0.2, 0.06, 0.0, 0.01], "num_nan": [0] * 4, "num_inf": [0] * 4, "fan_in": [27, 576, 1, 512]}
    return tensors("weight", **(healthy | columns))


def updates(**columns):
    return tensors("update", **({"ratio": [1e-3, 2e-3, 0.1, 1e-2], "fan_in": [27, 576, 1, 512]} | columns))


def activations(**columns):
    healthy = {"dead_share": [0.0] * 4, "saturated_share": [0.0] * 4, "zero_share": [0.0] * 4, "num_nan": [0] * 4}
    return tensors("activation", **(healthy | columns))


def losses(values):
    return [StepLoss(step + 1, float(value)) for step, value in enumerate(values)]


def epochs(train, valid):
    pairs = zip(train, valid, strict=True)
    return [EpochEnd(10 * (n + 1), n + 1, {"train/loss": a, "val/loss": b}) for n, (a, b) in enumerate(pairs)]


def classes(confusion, counts=(100, 100, 100), epoch=5):
    return EpochEnd(50, epoch, {}, np.asarray(confusion), ("beagle", "boxer", "pug"), counts)


def inputs(mean, std, count=64):
    return InputStats(1, (mean, 0.0, 0.0), (std, 1.0, 1.0), count)


def times(total, wait=0.0):
    total = np.asarray(total, dtype=np.float32)
    return StepTimes(len(total), total, np.full_like(total, wait))


def samples(count, **values):
    return [SystemSample(step, **{"cpu": (0.5, 0.5), **values}) for step in range(count)]


FALLING = np.linspace(3, 0.5, 600) + np.random.default_rng(0).normal(0, 0.2, 600)
FLAT = 2.3 + np.random.default_rng(1).normal(0, 0.05, 600)
VANISHED = [1e-9, 1e-9, 1e-3, 1e-3]
UNEVEN = [[50, 0, 0], [9, 1, 0], [0, 0, 9]]
CONFUSED = [[9, 1, 0], [8, 2, 0], [0, 0, 9]]
WORSE = [[3, 7, 0], [8, 2, 0], [0, 5, 4]]  # than CONFUSED: it has just learnt a lot
CLEAR = [[9, 1, 0], [4, 6, 0], [0, 0, 9]]
BUSY = (1.0, 0.95)
WINDOW = {"window": 20, "patience": 5}
CASES = [
    (rules.VanishingGradient(), 2 * [gradients(abs_mean=VANISHED)], 2 * [gradients(abs_mean=[1e-6] * 4)]),
    (rules.ExplodingTensor(), [weights(num_nan=[0, 1, 0, 0])], [weights(), gradients(), activations(), updates()]),
    (rules.ExplodingTensor(), [gradients(num_inf=[0, 1, 0, 0])], [gradients()]),
    (rules.ExplodingTensor(only_nan=True), [gradients(num_nan=[1, 0, 0, 0])], [gradients(num_inf=[1, 0, 0, 0])]),
    (rules.PoorWeightInitialization(), [weights(std=[0.2, 1e-7, 0.0, 0.01])], [weights()]),
    (rules.PoorWeightInitialization(), 3 * [gradients(std=[0.0] * 4)], 2 * [gradients(std=[0.0] * 4)] + [gradients()]),
    (rules.SaturatedActivation(), [activations(saturated_share=[0, 0.9, 0, 0])], [activations()]),
    (rules.DeadRelu(), [activations(dead_share=[0, 0.6, 0, 0.9])], [activations(dead_share=[0.4] * 4)]),
    (rules.AllZero(), 3 * [gradients(zero_share=[1, 0, 0, 0])], 2 * [gradients(zero_share=[1, 0, 0, 0])]),
    (rules.TensorVariance(), [gradients(std=[4, 0, 0, 0])], [gradients()]),
    (rules.UnchangedTensor(), 3 * [updates(ratio=[0.0] * 4)], 3 * [updates(ratio=[0.0, 1e-3, 1e-3, 1e-3])]),
    (rules.WeightUpdateRatio(), 2 * [updates(ratio=[3.0, 1e-3, 0, 1e-3])], 2 * [updates(ratio=[1e-3, 1e-3, 5, 1e-3])]),
    (rules.LossNotDecreasing(), losses(FLAT), losses(FALLING)),
    (rules.Overfit(), epochs([1, 0.5, 0.2, 0.1], [1, 0.9, 1.0, 1.2]), epochs([1, 0.5, 0.2, 0.1], [2, 1.8, 1.7, 1.6])),
    (rules.Overtraining(), epochs([0.1] * 12, [0.5] * 12), epochs([0.1] * 12, np.linspace(1, 0.5, 12))),
    (rules.ClassImbalance(), [classes(UNEVEN, (1000, 20, 900))], [classes(UNEVEN)]),
    (rules.Confusion(), 2 * [classes(CONFUSED)], [classes(CONFUSED), classes(CLEAR), classes(CONFUSED)]),
    (rules.Confusion(), 2 * [classes(CONFUSED)], 2 * [classes(CLEAR)]),
    (rules.Confusion(), 2 * [classes(WORSE)], [classes(WORSE), *2 * [classes(CONFUSED)]]),
    (rules.CheckInputImages(), [inputs(120.0, 60.0)], [inputs(-0.6, 1.2)]),
    (rules.CheckInputImages(), 2 * [inputs(0.0, 0.004, 32)], [inputs(9.0, 1.0, 32)]),
    (rules.StalledTraining(60.0), [Silence(7, 61.0, "read.py:3 (read)")], [Silence(7, 59.0)]),
    (rules.StepOutlier(), [times([0.1] * 300 + [2.0] * 11)], [times(0.1 + np.random.default_rng(0).random(300) / 50)]),
    (rules.Dataloader(), [CPU, times([0.1] * 60, wait=0.05)], [CPU, times([0.1] * 60, wait=0.01)]),
    (rules.MaxInitializationTime(threshold=0.01), [CPU], []),
    (rules.CpuBottleneck(**WINDOW), samples(30, cpu=BUSY, gpu=(0.02,)), samples(30, cpu=BUSY, gpu=(0.9,))),
    (rules.IoBottleneck(**WINDOW), samples(30, io_wait=0.8), samples(30, io_wait=0.1)),
    (rules.LowGpuUtilization(**WINDOW), samples(30, gpu=(0.3,)), samples(30, gpu=(0.95,))),
    (rules.BatchSize(**WINDOW), samples(30, gpu=(0.3,), gpu_memory=(0.2,)), samples(30, gpu=(0.9,), gpu_memory=(0.2,))),
    (rules.LoadBalancing(**WINDOW), samples(30, gpu=(0.9, 0.3)), samples(30, gpu=(0.9, 0.85))),
    (rules.OverallSystemUsage(**WINDOW), [], samples(30, gpu=(0.0,))),
]  # fmt: skip


def first_finding(rule, seen):
    rule = type(rule)(**{name: value for name, value in vars(rule).items() if not name.startswith("_")})
    return next((finding for finding in map(rule.look, seen) if finding), None)


@pytest.mark.parametrize(("rule", "sick", "healthy"), CASES, ids=[rule_name(type(case[0])) for case in CASES])
def test_each_fires_on_the_sick_and_not_on_the_healthy(rule, sick, healthy):
    if sick:
        finding = first_finding(rule, sick)
        assert finding is not None
        assert finding.evidence
        assert rule.advice or rule.needs_gpu
    assert first_finding(rule, healthy) is None


KEY = re.compile(r"\b(?:data|optim|trainer|model|loss|finetune|augment)\.[a-z_]+")


def test_advice_names_keys_that_exist():
    cfg = compose(["ema=default", "early_stopping=default"])
    for name in rules.__all__:
        for key in KEY.findall(getattr(rules, name).advice):
            assert OmegaConf.select(cfg, key, default="missing") != "missing", f"{name}: {key}"


def test_every_rule_has_been_tried():
    tried = {type(case[0]).__name__ for case in CASES} | {"GpuMemoryIncrease", "SimilarAcrossRuns"}
    assert tried == set(rules.__all__)


def test_memory_that_grows():
    growing = [SystemSample(n, (0.5,), gpu=(0.9,), gpu_memory=(0.2 + n / 100,)) for n in range(30)]
    assert "has grown from" in first_finding(rules.GpuMemoryIncrease(**WINDOW), growing).evidence
    assert first_finding(rules.GpuMemoryIncrease(**WINDOW), growing[:1] * 30) is None


def test_evidence_names_the_layers_and_the_numbers():
    finding = rules.VanishingGradient(patience=1).look(gradients(abs_mean=[1e-9, 1e-8, 1e-3, 1e-3]))
    assert finding.evidence == ("mean absolute gradient: stem.weight 1e-09, layer.weight 1e-08 (2 of 4 tensors)")
    assert finding.values["tensors"] == pytest.approx({"stem.weight": 1e-9, "layer.weight": 1e-8})


def test_names_are_those_of_aws():
    assert rule_name(rules.LowGpuUtilization) == "low_gpu_utilization"
    assert rule_name(rules.IoBottleneck) == "io_bottleneck"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: rules.VanishingGradient(threshold=-1),
            r"rules\.vanishing_gradient\.threshold=-1 must be at least 0",
        ),
        (lambda: rules.DeadRelu(threshold_layer=200), r"dead_relu\.threshold_layer=200 must be between 0 and 100"),
        (lambda: rules.LossNotDecreasing(num_steps=0), r"loss_not_decreasing\.num_steps=0 must be at least 1"),
    ],
)
def test_parameters_out_of_range(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()


class TestPanel:
    def panel(self):
        return RulePanel({"dead_relu": rules.DeadRelu(), "low_gpu": rules.LowGpuUtilization(), "fine": rules.AllZero()})

    def test_news_come_once_and_all_is_counted(self):
        panel = self.panel()
        panel.show(CPU)
        sick = activations(dead_share=[0.9] * 4)
        assert list(panel.show(sick)) == ["dead_relu"]
        assert not panel.show(sick)
        row, ok, skipped = panel.table()
        assert (row["name"], row["verdict"], row["count"], row["first_step"]) == ("dead_relu", "issue", 2, 1)
        assert row["advice"].startswith("Lower optim.lr")
        assert (ok["verdict"], ok["advice"]) == ("ok", None)
        assert (skipped["name"], skipped["verdict"], skipped["evidence"]) == ("low_gpu", "skipped", "there is no GPU")

    def test_it_is_written_as_json_whatever_was_found(self, tmp_path):
        panel = RulePanel({"exploding_tensor": rules.ExplodingTensor()})
        panel.show(gradients(num_nan=[math.inf, 0, 0, 0]))
        panel.write(tmp_path / "diagnosis.json")
        assert json.loads((tmp_path / "diagnosis.json").read_text())[0]["values"] == {"tensors": {"stem.weight": None}}

    def test_what_it_remembers_comes_back(self):
        one, other = self.panel(), self.panel()
        for panel in (one, other):
            panel.show(GPU)
        for _ in range(2):
            one.show(gradients(zero_share=[1, 0, 0, 0]))
        one.show(activations(dead_share=[0.9] * 4))
        other.load_state(one.state())
        assert other.table() == one.table()
        assert list(other.show(gradients(zero_share=[1, 0, 0, 0]))) == ["fine"]  # the third time in a row
