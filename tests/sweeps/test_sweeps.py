"""Sweeps: what they record, how they rank, and that one bad trial is one bad row."""

import json

import pytest
from helpers import QUICK

from dogbreed.sweeps.ranking import rank_trials
from dogbreed.sweeps.record import collect_trials, write_sweep
from dogbreed.sweeps.table import sweep_table


def trial(number, value, state="completed", **more):
    overrides = more.pop("overrides", [f"optim.lr={number}"])
    return {"number": number, "overrides": overrides, "values": [value], "state": state, "error": None} | {
        "seconds": 1.0,
        "run_folder": str(number),
        "issues": [],
        **more,
    }


@pytest.mark.parametrize(("mode", "order"), [("max", [1, 3, 0, 2, 4]), ("min", [0, 1, 3, 2, 4])])
def test_ranking(mode, order):
    trials = [trial(0, 0.1), trial(1, 0.9), trial(2, None, "failed"), trial(3, 0.9), trial(4, float("nan"))]
    assert [one["number"] for one in rank_trials(trials, mode)] == order


def test_the_table_shows_what_tells_trials_apart():
    trials = [
        trial(0, 0.5, overrides=["model=a", "seed=1"]),
        trial(1, None, "failed", overrides=["model=b", "seed=1"], error="No room."),
        trial(2, 0.4, overrides=["model=c", "seed=1"], issues=["dead_relu", "overfit"]),
    ]
    table = sweep_table({"trials": trials, "objective": ["val/acc_top1"], "objective_mode": "max"})
    assert "seed=1" not in table
    assert table.splitlines()[2].split() == ["0", "0.5", "model=a", "1", "completed"]
    assert table.splitlines()[3].endswith("completed; rules: dead_relu, overfit")
    assert "failed: No room." in table.splitlines()[4]
    alone = sweep_table({"trials": trials[:1], "objective": ["val/acc_top1"], "objective_mode": "max"})
    assert "model=a seed=1" in alone


def test_a_sweep_that_was_killed_can_be_read(tmp_path):
    for number, files in {
        "0": {"run.json": '{"state": "completed", "seconds": 2.5}', "metrics.json": '{"val/loss": 0.5}'},
        "1": {"run.json": '{"state": "running"}'},
        "2": {"run.json": '{"state": "comp'},
        "10": {"diagnosis.json": '[{"name": "overfit", "verdict": "issue"}, {"name": "confusion", "verdict": "ok"}]'},
    }.items():
        (tmp_path / number / ".hydra").mkdir(parents=True)
        (tmp_path / number / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
        for name, text in files.items():
            (tmp_path / number / name).write_text(text)
    (tmp_path / "notes").mkdir()
    trials = collect_trials(tmp_path, ["val/loss"])
    assert [one["number"] for one in trials] == [0, 1, 2, 10]
    assert [one["state"] for one in trials] == ["completed", "running", "failed", "failed"]
    assert [one["values"] for one in trials] == [[0.5], [None], [None], [None]]
    assert [one["issues"] for one in trials] == [[], [], [], ["overfit"]]


def test_a_sweep_without_one_good_trial_has_no_best(tmp_path):
    sweep = write_sweep(tmp_path, engine="basic", search_space=[], objectives=["val/loss"], modes=["min"])
    assert sweep["best"] is None
    assert json.loads((tmp_path / "sweep.json").read_text()) == sweep


def sweep_of(tree, tmp_path, cli, *overrides):
    answer = cli("train", "-m", *QUICK, "data=folder", f"data.root={tree}", f"hydra.sweep.dir={tmp_path}/s", *overrides)
    return answer, json.loads((tmp_path / "s" / "sweep.json").read_text())


def test_a_failed_trial_is_a_row_not_the_end(tree, tmp_path, cli):
    answer, sweep = sweep_of(tree, tmp_path, cli, "data.batch_size=8,99", "optim.lr=-1,1e-6,1e-2")
    assert answer.code == 0, answer.err
    states = ["failed", "completed", "completed", "failed", "failed", "failed"]
    assert [one["state"] for one in sweep["trials"]] == states
    assert sweep["state"] == "completed"
    assert sweep["params"] == {"data.batch_size": "8,99", "optim.lr": "-1,1e-6,1e-2"}
    assert sweep["engine"] == "basic"
    assert "optim.lr=-1,1e-6,1e-2" in sweep["search_space"]
    assert sweep["objective"] == ["val/acc_top1"]
    assert sweep["best"] == 2
    first = sweep["trials"][0]
    assert first["values"] == [None]
    assert "lr=-1" in first["error"]
    done = sweep["trials"][2]
    assert {"optim.lr=0.01", "data.batch_size=8"} <= set(done["overrides"])
    assert done["params"] == {"data.batch_size": 8, "optim.lr": 0.01}
    metrics = json.loads((tmp_path / "s" / done["run_folder"] / "metrics.json").read_text())
    assert done["values"] == [metrics["val/acc_top1"]]
    assert not any(key.startswith("test/") for key in metrics)
    # One table at the end, the best first.
    table = answer.out[answer.out.rindex("trial  val/acc_top1") :]
    assert table.splitlines()[0].split() == ["trial", "val/acc_top1", "data.batch_size", "optim.lr", "seconds", "state"]
    assert table.splitlines()[2].split()[2:4] == ["8", "0.01"]
    assert "best    trial 2, val/acc_top1 " in table
    assert f"train   python -m dogbreed.train from_sweep={tmp_path / 's'}" in table
    assert table.count("failed: ") == 4
    assert answer.err.count("Error: ") == 4
    assert "Traceback" not in answer.err


def test_a_finished_sweep_is_not_written_over(tree, tmp_path, cli):
    sweep_of(tree, tmp_path, cli, "seed=1", "trainer=debug", "data.batch_size=4")
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}
    answer, _ = sweep_of(tree, tmp_path, cli, "seed=2,3", "trainer=debug", "data.batch_size=4")
    assert answer.code == 2
    assert "holds a sweep: choose another folder (hydra.sweep.dir=DIR)" in answer.err
    assert {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_failed_trial_keeps_nothing_alive(tree, tmp_path, cli, monkeypatch):
    import gc

    from dogbreed import ImageClassifier
    from dogbreed.fit import run

    alive = []

    def failing(*arguments, **options):
        gc.collect()
        alive.append(sum(isinstance(thing, ImageClassifier) for thing in gc.get_objects()))
        msg = "out of luck"
        raise RuntimeError(msg)

    monkeypatch.setattr(run, "_fit", failing)
    answer, _ = sweep_of(tree, tmp_path, cli, "seed=1,2,3")
    assert answer.code == 2
    assert answer.err.count("RuntimeError: out of luck") == 3
    assert len(set(alive)) == 1


def test_a_sweep_of_failures_only_is_a_failure(tree, tmp_path, cli):
    answer, sweep = sweep_of(tree, tmp_path, cli, "optim.lr=-1,-2")
    assert answer.code == 2
    assert sweep["best"] is None
    assert "None of the 2 trials" in answer.err


def test_an_ambiguous_list_without_m_is_explained(cli):
    answer = cli("train", "optim.lr=1e-3,3e-3")
    assert answer.code == 2
    assert "add -m to sweep over them, or write a list as optim.lr=[1e-3,3e-3]" in answer.err


def test_a_sweep_that_is_interrupted_says_so(tree, tmp_path, cli, monkeypatch):
    from dogbreed.fit import run

    fit, calls = run._fit, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(run, "_fit", interrupted)
    answer, sweep = sweep_of(tree, tmp_path, cli, "seed=1,2,3", "report=true")
    assert answer.code == 130
    assert sweep["state"] == "interrupted"
    assert [one["state"] for one in sweep["trials"]] == ["completed", "interrupted"]
    assert sweep["best"] == 0
    # The page was written after the first trial, when the sweep was still going on.
    assert 'http-equiv="refresh"' in (tmp_path / "s" / "sweep.html").read_text()
