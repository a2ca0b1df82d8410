"""Numbers of reports, on series whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dogbreed.reporting.differences import MISSING, differing_keys
from dogbreed.reporting.quality import calibration_of, class_scores, confusion_of
from dogbreed.reporting.run import RuleResult
from dogbreed.reporting.sources import Table
from dogbreed.reporting.steps import phase_seconds, phase_sentence, shares, step_times, thin
from dogbreed.reporting.usage import loader_advice, usage_of
from dogbreed.reporting.verdict import worst_findings


def table(**columns):
    return Table({name: [str(value) for value in values] for name, values in columns.items()})


# -- steps -------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=300), st.integers(1, 50))
def test_thinning_loses_no_extreme(values, num_buckets):
    y = np.array(values, dtype=np.float64)
    thinned = thin(np.arange(len(y), dtype=np.float64), y, num_buckets)
    assert len(thinned.x) <= num_buckets
    there = y[np.isfinite(y)]
    if len(there):
        assert np.nanmin(thinned.low) == there.min()
        assert np.nanmax(thinned.high) == there.max()
    else:
        assert not np.isfinite(thinned.mean).any()


def test_few_points_stay_as_they_are():
    thinned = thin(np.array([1.0, 2.0]), np.array([5.0, 7.0]), 100)
    assert thinned.x.tolist() == [1, 2]
    assert thinned.low.tolist() == thinned.mean.tolist() == thinned.high.tolist() == [5, 7]


def test_outliers_are_three_deviations_above_the_mean_of_all_but_the_first_steps():
    seconds = np.array([9.0, 9.0, 9.0, *[1.0] * 99, 11.0])
    times = step_times(table(step=range(1, 104), loss=[1] * 103, seconds=seconds))
    own = seconds[3:]
    assert times.mean == pytest.approx(own.mean())
    assert times.limit == pytest.approx(own.mean() + 3 * own.std())
    assert times.steps[times.is_outlier].tolist() == [103]
    assert times.num_warm_up == 3


def test_few_steps_are_all_counted():
    assert step_times(table(step=[1, 2], loss=[1, 1], seconds=[4, 2])).mean == 3
    assert step_times(table(step=[], loss=[], seconds=[])) is None


def test_what_phases_leave_is_other():
    steps = table(step=[1, 2], loss=[1, 1], seconds=[1.0, 1.0], wait_s=[0.25, 0.25], forward_s=[0.5, 1.5])
    phases = phase_seconds(steps)
    assert list(phases) == ["wait", "forward", "other"]
    assert phases["other"].tolist() == [0.25, 0.0]  # never negative: a GPU works beside the host
    assert sum(shares(phases).values()) == pytest.approx(1)
    assert phase_seconds(table(step=[1], loss=[1], seconds=[1])) == {}


def test_the_largest_loss_of_time_is_named():
    share = {"wait": 0.3, "forward": 0.4, "backward": 0.2, "optimizer": 0.05, "other": 0.05}
    assert phase_sentence(share).startswith("65 % of the time went into computing")
    assert "30 % into waiting for pictures" in phase_sentence(share)
    assert phase_sentence({"forward": 1.0}).endswith("none of the rest took a tenth.")
    assert phase_sentence({}) == ""


# -- rules -------------------------------------------------------------------


def test_what_breaks_a_model_comes_before_what_slows_it():
    names = ("step_outlier", "my_rule", "overfit", "dead_relu", "exploding_tensor")
    rules = [RuleResult(name, "issue", 1, 5) for name in names] + [RuleResult("confusion", "ok")]
    found = worst_findings(rules, limit=9)
    assert [item.rule.name for item in found] == ["exploding_tensor", "dead_relu", "overfit", "my_rule", "step_outlier"]
    harms = ["breaks training", "breaks training", "costs accuracy", "your own rule", "costs time"]
    assert [item.harm for item in found] == harms
    assert len(worst_findings(rules)) == 3


def test_every_rule_of_the_configuration_has_its_place():
    from dogbreed import compose
    from dogbreed.reporting.verdict import BREAKS, SLOWS, WEAKENS

    known = {*BREAKS, *WEAKENS, *SLOWS}
    assert set(compose([]).diagnose.rules) - known == {"overall_system_usage"}  # which never fires


# -- classes -----------------------------------------------------------------


def test_the_reliability_of_probabilities():
    predictions = table(
        split=["test"] * 4 + ["valid"],
        file=["f"] * 5,
        label=["a", "a", "b", "b", "a"],
        predicted=["a", "b", "b", "b", "a"],
        probability=[0.62, 0.64, 0.95, 0.97, 0.1],
    )
    found = calibration_of(predictions, "test")
    assert found.num_pictures.tolist() == [2, 2]
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.confidence == pytest.approx([0.63, 0.96])
    assert found.error == pytest.approx((2 * 0.13 + 2 * 0.04) / 4)
    assert calibration_of(predictions, "train") is None
    assert calibration_of(None, "test") is None


def test_a_matrix_of_classes():
    cells = table(
        split=["test", "test", "test", "valid"],
        label=["b", "a", "b", "c"],
        predicted=["b", "b", "a", "c"],
        count=[3, 2, 1, 9],
    )
    found = confusion_of(cells, "test")
    assert found.names == ("a", "b")
    assert found.counts_KK.tolist() == [[0, 2], [1, 3]]
    assert found.worst_pairs(5) == [("a", "b", 2, 1.0), ("b", "a", 1, 0.25)]
    assert confusion_of(cells, "train") is None


def test_classes_the_best_first():
    rows = table(
        split=["test"] * 3,
        **{"class": ["a", "b", "c"]},
        pictures=[4, 4, 0],
        precision=[0.5, "", 1],
        recall=[0.5, 0, 1],
        f1=[0.5, 0.9, 1],
    )
    assert [score.name for score in class_scores(rows, "test")] == ["b", "a"]


# -- the machine -------------------------------------------------------------


def test_advice_about_loaders():
    def advice(*arguments):
        return " ".join(loader_advice(*arguments))

    assert "data.num_workers=4 at most" in advice(8, 4, 0.0, [])
    assert "try data.num_workers=4" in advice(2, 16, 0.3, ["A10G"])
    assert "no core is left" in advice(1, 2, 0.3, [])
    assert "loading keeps up" in advice(2, 16, 0.02, [])
    assert "nothing to pin" in advice(2, 16, 0.02, [])
    assert "pinned memory" in advice(2, 16, 0.02, ["A10G"])
    assert "data.residency" not in advice(2, 16, 0.02, ["A10G"], "device")
    assert advice(None, None, None, []) == "Pinned memory: no GPU, nothing to pin."


def test_samples_of_a_run_that_went_on_follow_each_other():
    system = table(
        seconds=[2, 4, 2, 4], io_wait=[0] * 4, memory_gb=[1] * 4, cpu0=[0.5] * 4, cpu10=[1] * 4, cpu2=[0] * 4
    )
    usage = usage_of(system)
    assert usage.seconds.tolist() == [2, 4, 4, 6]
    assert usage.cores_NC[0].tolist() == [0.5, 0, 1]  # cores in the order of their numbers
    assert usage.gpus == {}


# -- configurations ----------------------------------------------------------


def test_only_what_differs_is_shown():
    configs = [
        {"optim": {"lr": 0.1, "name": "sgd"}, "seed": 0},
        {"optim": {"lr": 0.2, "name": "sgd"}, "seed": 0, "new": {}},
    ]
    assert differing_keys(configs) == {"optim.lr": [0.1, 0.2], "new": [MISSING, {}]}
    assert differing_keys(configs[:1]) == {}
