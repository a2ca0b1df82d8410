"""The record of a sweep: parameters, the Pareto front, importance, and trials that ran elsewhere."""

import importlib.util
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_sweep import PARAMS, write_made_up_sweep

from dogbreed.files import read_json
from dogbreed.sweeps.importance import MIN_TRIALS, importance_of
from dogbreed.sweeps.ranking import best_of, pareto_front
from dogbreed.sweeps.record import collect_trials, make_record, search_params, write_sweep
from dogbreed.sweeps.table import sweep_summary, sweep_table


def trial(number, *values, state="completed", **params):
    return {"number": number, "state": state, "values": list(values), "params": params, "overrides": []} | {
        "seconds": 1.0,
        "run_folder": str(number),
        "issues": [],
        "reason": None,
        "error": None,
    }


def record_of(trials, params, modes=("max",)):
    names = ["val/acc_top1", "seconds"][: len(modes)]
    return make_record(trials, engine="tpe", search_space=[], objectives=names, modes=list(modes), params=params,
                       state="completed", with_importance=True)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_the_front_is_what_nobody_beats(points):
    trials = [trial(number, float(one), float(two)) for number, (one, two) in enumerate(points)]
    front = pareto_front(trials, ["max", "min"])

    def beats(a, b):
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    alone = {point for point in points if not any(beats(other, point) for other in points)}
    assert {points[number] for number in front} == alone
    assert len(front) == len(alone)  # of the same values one
    assert front == sorted(front, key=lambda number: -points[number][0])


def test_only_finished_trials_win():
    trials = [trial(0, 0.9, state="pruned"), trial(1, 0.5), trial(2, 0.7, state="running"), trial(3, None)]
    assert best_of(trials, "max")["number"] == 1
    assert best_of(trials[:1], "max") is None
    assert pareto_front([trial(0, 0.9, 1.0, state="pruned"), trial(1, 0.5, math.nan)], ["max", "min"]) == []


def test_what_is_typed_changes_the_space():
    space = {"optim.lr": "interval(1,2)", "seed": "1,2", "model": "choice(a, b)"}
    typed = ["seed=3", "optim.lr=interval(5,6)", "+extra=range(3)", "data=folder"]
    assert search_params(space, typed) == {"optim.lr": "interval(5,6)", "model": "choice(a, b)", "extra": "range(3)"}


def test_params_are_values_and_machinery_is_left_out(tmp_path):
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    overrides = ["optim.lr=1e-3", "augment=strong", "+x=null", "data.class_names=[a,b]", "seed=7", "flag=true"]
    overrides += ["trial.number=3", "trial.storage='sqlite:///x'", "hydra.sweep.subdir=3", "model.weights='a,b'"]
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    keys = ["optim.lr", "augment", "x", "data.class_names", "flag", "model.weights", "missing"]
    (found,) = collect_trials(tmp_path, ["val/loss"], keys)
    assert found["params"] == {"optim.lr": 1e-3, "augment": "strong", "x": None, "data.class_names": "[a,b]"} | {
        "flag": True,
        "model.weights": "a,b",
    }
    assert found["overrides"] == [*overrides[:6], "model.weights='a,b'"]


def test_a_trial_is_read_again_when_it_changes(tmp_path):
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    (tmp_path / "0" / "run.json").write_text('{"state": "running"}')
    assert collect_trials(tmp_path, ["val/loss"])[0]["state"] == "running"
    (tmp_path / "0" / "run.json").write_text('{"state": "pruned", "reason": "Behind."}')
    (tmp_path / "0" / "metrics.json").write_text('{"val/loss": 2}')
    (found,) = collect_trials(tmp_path, ["val/loss"])
    assert (found["state"], found["reason"], found["values"]) == ("pruned", "Behind.", [2])


def test_trials_elsewhere_stay_until_their_folder_comes(tmp_path):
    more = {"engine": "tpe", "search_space": [], "objectives": ["val/acc_top1"], "modes": ["max"]}
    elsewhere = trial(5, 0.99) | {"run_folder": None}
    write_made_up_sweep(tmp_path, 3)
    first = write_sweep(tmp_path, **more, params=PARAMS, search_hash="abc", trials_elsewhere=[elsewhere])
    assert [one["number"] for one in first["trials"]] == [0, 1, 2, 5]
    assert first["best"] == 5
    again = write_sweep(tmp_path, **more)
    assert again["trials"] == first["trials"]
    assert (again["params"], again["hash"]) == (PARAMS, "abc")
    (tmp_path / "5" / ".hydra").mkdir(parents=True)
    (tmp_path / "5" / ".hydra" / "overrides.yaml").write_text("- optim.lr=0.1\n")
    last = write_sweep(tmp_path, **more)
    assert last["trials"][3]["run_folder"] == "5"
    assert last["best"] != 5
    assert read_json(tmp_path / "sweep.json") == last


def made_up(num_trials, seed=0):
    rng = np.random.default_rng(seed)
    params = {"lr": "tag(log, interval(1e-4, 1))", "kind": "choice(a, b, null)", "idle": "interval(0, 1)"}
    trials = []
    for number in range(num_trials):
        lr, kind, idle = 10 ** rng.uniform(-4, 0), rng.choice(["a", "b", None]), rng.uniform()
        value = -((math.log10(lr) + 2) ** 2) + 0.5 * (kind == "a")
        trials.append(trial(number, value, lr=lr, kind=kind, idle=idle))
    return trials, params


@pytest.mark.parametrize("has_forest", [True, False])
def test_what_matters_is_found(monkeypatch, has_forest):
    if not has_forest:
        there = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sklearn" else there(name))
    trials, params = made_up(80)
    found = record_of([*trials, trial(99, None, state="failed")], params)["importance"]
    assert next(iter(found)) == "lr"
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == set(params)
    assert found == record_of(trials, params)["importance"]


def test_importance_is_left_open_where_it_would_be_luck():
    trials, params = made_up(MIN_TRIALS)
    assert record_of(trials[:-1], params)["importance"] is None
    assert record_of(trials, params)["importance"]
    same = [{**one, "values": [0.5]} for one in trials]
    assert record_of(same, params)["importance"] is None
    fixed = [{**one, "params": {**one["params"], "idle": 1, "kind": "a"}} for one in trials]
    assert record_of(fixed, params)["importance"] == {"lr": 1.0}
    assert record_of(trials, {})["importance"] is None
    # An engine's own way of writing its ranges.
    assert importance_of(record_of(trials, params) | {"params": dict.fromkeys(params, "0.1..1")})


def test_without_optuna_nothing_is_known_of_importance(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "optuna" else there(name))
    assert record_of(*made_up(30))["importance"] is None


def test_the_summary_says_how_to_train_the_winner(tmp_path):
    trials = [trial(0, 0.5, 9.0, lr=0.1), trial(1, 0.7, 8.0, lr=0.2), trial(2, 0.6, 1.0, lr=0.3)]
    text = sweep_summary(record_of(trials, {"lr": "interval(0, 1)"}, ("max", "min")), tmp_path / "my sweep")
    assert "best    trial 1, val/acc_top1 0.7, seconds 8: lr=0.2" in text
    assert "pareto  1, 2:" in text
    assert f"train   python -m dogbreed.train from_sweep='{tmp_path}/my sweep'" in text
    assert [line.split()[1] for line in text.splitlines()[2:5]] == ["*", "*", "0.5"]
    assert "no trial has finished" in sweep_summary(record_of([trial(0, None)], {}), tmp_path)


def test_a_long_table_counts_its_rest():
    trials = [trial(number, number / 100, lr=0.1 * number) for number in range(60)]
    trials[7] |= {"state": "pruned", "reason": "Behind\nthe others.", "issues": ["dead_relu"]}
    table = sweep_table(record_of(trials, {"lr": "interval(0, 9)"}), limit=10)
    assert table.splitlines()[2].split()[:2] == ["59", "0.59"]
    assert table.endswith("… and 50 more trials")
    assert "pruned: Behind the others.; rules: dead_relu" in sweep_table(record_of(trials, {}), limit=60)
