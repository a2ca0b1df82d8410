"""Searches through the command: real trials, what goes on, what is refused and in which words."""

import json

import optuna
import pytest
import yaml
from helpers import QUICK

from dogbreed.files import read_json

LR = "optim.lr=tag(log, interval(1e-4, 1e-1))"
SEARCH = ("-m", "hydra/sweeper=dogbreed", *QUICK, "trainer=debug", "data=folder")


@pytest.fixture
def search(cli, tree, tmp_path):
    def run(*overrides, folder="s"):
        own = (
            ()
            if any(one.startswith("hydra.sweep.dir=") for one in overrides)
            else (f"hydra.sweep.dir={tmp_path}/{folder}",)
        )
        return cli("train", *SEARCH, f"data.root={tree}", "data.batch_size=4", *own, *overrides)

    return run


def study_in(folder):
    address = f"sqlite:///{folder}/study.db"
    (name,) = optuna.get_all_study_names(address)
    return optuna.load_study(study_name=name, storage=address)


def sweep_in(folder):
    return json.loads((folder / "sweep.json").read_text())


# -- what it does ------------------------------------------------------------------


def test_a_search_and_more_of_it(search, tmp_path):
    answer = search(LR, "loss.label_smoothing=0.0,0.1", "hydra.sweeper.n_trials=2")
    assert answer.code == 0, answer.err
    sweep = sweep_in(tmp_path / "s")
    assert [trial["state"] for trial in sweep["trials"]] == ["completed"] * 2
    assert sweep["engine"] == "tpe"
    # The configuration's own values first: a learning rate that is not typed, label smoothing of 0.1.
    own = {"optim.lr": pytest.approx(5e-3 * (4 / 32) ** 0.5, rel=0.01), "loss.label_smoothing": 0.1}
    assert sweep["trials"][0]["params"] == own
    for trial in study_in(tmp_path / "s").trials:
        metrics = read_json(tmp_path / "s" / str(trial.number) / "metrics.json")
        assert trial.values == [metrics["val/acc_top1"]]
        assert not any(key.startswith("test/") for key in metrics)
        overrides = yaml.safe_load((tmp_path / "s" / str(trial.number) / ".hydra" / "overrides.yaml").read_text())
        assert f"optim.lr={trial.params['optim.lr']!r}" in overrides
    again = search(LR, "loss.label_smoothing=0.0,0.1", "hydra.sweeper.n_trials=2")
    assert again.code == 2
    assert "finished with 2 trials: raise hydra.sweeper.n_trials" in again.err
    other = search(LR, "loss.label_smoothing=0.0,0.2", "hydra.sweeper.n_trials=3")
    assert other.code == 2
    assert "holds another search" in other.err
    more = search(LR, "loss.label_smoothing=0.0,0.1", "hydra.sweeper.n_trials=3")
    assert more.code == 0, more.err
    assert "trial 2 (3/3)" in more.out
    assert [trial["number"] for trial in sweep_in(tmp_path / "s")["trials"]] == [0, 1, 2]


def test_the_same_command_goes_on_in_the_newest_folder(search, cli, tmp_path, monkeypatch):
    from dogbreed.fit import run

    real, calls = run.fit_run, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(run, "fit_run", interrupted)
    place = f"hydra.sweep.dir={tmp_path}/sweeps/${{now:%H-%M-%S-%f}}"
    answer = search(LR, "hydra.sweeper.n_trials=3", place)
    assert answer.code == 130
    assert "The same command goes on from here." in answer.err
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert read_json(folder / "search.json")["state"] == "interrupted"
    answer = search(LR, "hydra.sweeper.n_trials=3", place)
    assert answer.code == 0, answer.err
    assert f"resume  {folder}" in answer.out
    assert [path.name for path in (tmp_path / "sweeps").iterdir()] == [folder.name]
    assert [trial["state"] for trial in sweep_in(folder)["trials"]] == ["completed"] * 3
    assert [trial.state.name for trial in study_in(folder).trials] == ["COMPLETE"] * 3
    # Nothing is interrupted any more: the same command begins.
    answer = search(LR, "hydra.sweeper.n_trials=1", place)
    assert len(list((tmp_path / "sweeps").iterdir())) == 2


def test_several_objectives_are_a_front(search, tmp_path):
    answer = search(LR, "objective=[val/acc_top1,num_parameters]", "hydra.sweeper.n_trials=2")
    assert answer.code == 0, answer.err
    study = study_in(tmp_path / "s")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    metrics = read_json(tmp_path / "s" / "0" / "metrics.json")
    assert study.trials[0].values == [metrics["val/acc_top1"], metrics["num_parameters"]]
    assert metrics["num_parameters"] > 1000
    assert "no trial is ended early: there are several objectives" in answer.out
    assert sweep_in(tmp_path / "s")["pareto"]


@pytest.mark.slow
def test_a_shared_study_has_as_many_trials_as_wanted_and_no_more(search, tmp_path):
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db"
    assert search(LR, storage, "hydra.sweeper.n_trials=1", folder="one").code == 0
    assert search(LR, storage, "hydra.sweeper.n_trials=3", folder="two").code == 0
    assert sorted(path.name for path in (tmp_path / "two").iterdir() if path.is_dir()) == ["1", "2"]
    rows = sweep_in(tmp_path / "two")["trials"]
    assert [(row["number"], row["run_folder"]) for row in rows] == [(0, None), (1, "1"), (2, "2")]
    third = search(LR, storage, "hydra.sweeper.n_trials=3", folder="three")
    assert third.code == 0, third.err
    named = (storage, "seed=7", "hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=1")
    other = search(LR, *named, folder="four")
    assert other.code == 0, other.err
    wrong = search("optim.lr=interval(0.1, 0.2)", *named, folder="five")
    assert wrong.code == 2
    assert "searches something else (optim.lr goes through tag(log, interval(0.0001, 0.1)) there" in wrong.err


# -- what it refuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), "The search space is empty"),
        (("optim.lr=interval(0.1, 0.1)",), "it is empty"),
        (("optim.lr=interval(0.1, 0.01)",), "it is reversed"),
        (("optim.lr=tag(log, interval(0, 1))",), "a logarithmic scale begins above 0"),
        (("optim.lrr=interval(0, 1)",), "Did you mean optim.lr"),
        (("model=choice(resnet18, resnet51)",), "Did you mean resnet50"),
        ((LR, "objective=val/accuracy"), "objective=val/accuracy: no run reports it. Did you mean val/"),
        ((LR, "objective=test/acc_top1"), "tuning on the test split measures nothing"),
        ((LR, "hydra.sweeper.engine=tpr"), "hydra.sweeper.engine=tpr does not exist. Did you mean tpe?"),
        ((LR, "hydra.sweeper.engine=grid"), "engine=grid goes through lists"),
        ((LR, "hydra.sweeper.engine=cmaes", "objective=[val/acc_top1,seconds]"), "goes by one objective"),
        ((LR, "hydra.sweeper.pruner=medium"), "hydra.sweeper.pruner=medium does not exist. Did you mean median?"),
        ((LR, "+hydra.sweeper.engine_options.n_startup=3"), "Did you mean n_startup_trials"),
        ((LR, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0 must be 1 or more"),
        ((LR, "hydra.sweeper.n_trials=null"), "never ends of itself"),
        ((LR, "hydra.sweeper.heartbeat_s=0"), "hydra.sweeper.heartbeat_s=0.0 must be above 0"),
        (
            (LR, "hydra.sweeper.storage=postgresql://me:secret@127.0.0.1:1/x"),
            "hydra.sweeper.storage=postgresql://me:***@",
        ),
        ((LR, "hydra.sweeper.storage=nonsense"), "hydra.sweeper.storage=nonsense cannot be reached"),
        ((LR, "resume=nowhere"), "resume=nowhere holds no search"),
    ],
)
def test_what_is_wrong_is_said_before_any_trial(search, tmp_path, overrides, words):
    answer = search(*overrides)
    assert answer.code == 2, answer.out
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert "secret" not in answer.out + answer.err
    assert not (tmp_path / "s" / "0").exists()


def test_a_search_needs_m(cli):
    answer = cli("train", "sweep=head", "seed=1")
    assert answer.code == 2
    assert "python -m dogbreed.train -m sweep=head seed=1" in answer.err
    answer = cli("train", "hydra/sweeper=dogbreed")
    assert "python -m dogbreed.train -m hydra/sweeper=dogbreed" in answer.err


def test_an_interval_needs_a_search(cli, tmp_path):
    answer = cli("train", "-m", "optim.lr=interval(0.1, 1)", f"hydra.sweep.dir={tmp_path}/s")
    assert answer.code == 2
    assert "hydra/sweeper=dogbreed" in answer.err
    answer = cli("train", "optim.lr=interval(0.1, 1)")
    assert "add -m, and hydra/sweeper=dogbreed" in answer.err
