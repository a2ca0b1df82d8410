"""Real trials that report to a real study, and end early."""

import json
import math
import subprocess
import sys

import optuna
import pytest
from helpers import compose_quick, rows_of
from optuna.trial import TrialState, create_trial

from dogbreed import UserError, fit_run
from dogbreed.fit import run as fit_run_module
from dogbreed.model_folder import verify_model
from dogbreed.sweeps.engines import pruner_settings
from dogbreed.sweeps.opening import open_storage
from dogbreed.sweeps.pruning import build_callbacks
from dogbreed.sweeps.study import ABOUT

EPOCHS = 5
SCRATCH = ("finetune=full", f"trainer.max_epochs={EPOCHS}")


def pruner(name="median", startup_trials=1, warmup_epochs=1):
    return pruner_settings(
        name, startup_trials=startup_trials, warmup_epochs=warmup_epochs, max_epochs=EPOCHS, options={}
    )


@pytest.fixture
def study(tmp_path):
    """A study in which one trial has had better values than there are."""
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"), direction="maximize")
    study.set_user_attr(ABOUT, {"objective": ["val/acc_top1"], "modes": ["max"], "pruner": pruner()})
    values = dict.fromkeys(range(EPOCHS), 2.0)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=2.0, intermediate_values=values))
    return study


def keys_of(study, tmp_path, number):
    place = f"sqlite:///{tmp_path}/study.db"
    return [f"trial.storage='{place}'", f"trial.study={study.study_name}", f"trial.number={number}"]


def train(tree, tmp_path, study, *more, folder="run"):
    number = study.ask().number
    cfg = compose_quick(tree, *SCRATCH, *keys_of(study, tmp_path, number), *more)
    return fit_run(cfg, tmp_path / folder, is_trial=True), study.get_trials()[number]


def record(tmp_path, folder="run"):
    return json.loads((tmp_path / folder / "run.json").read_text())


def test_a_trial_that_is_behind_ends_early_and_is_measured(tree, tmp_path, study):
    result, trial = train(tree, tmp_path, study)
    rows = rows_of(tmp_path / "run" / "metrics.csv")
    # Not in the first epoch, which is the pruner's warm-up.
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert trial.intermediate_values == pytest.approx(
        {n: float(row["val/acc_top1"]) for n, row in enumerate(rows)}, abs=1e-6
    )
    run = record(tmp_path)
    assert (run["state"], run["issue"], run["error"]) == ("pruned", None, None)
    assert run["reason"].startswith("after epoch 2 val/acc_top1 is ")
    assert run["reason"].endswith(", too far behind other trials (median).")
    assert result.early_end.reason == run["reason"]
    # It is a whole run all the same: of its best epoch.
    assert result.objective == pytest.approx(max(trial.intermediate_values.values()), abs=1e-6)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["val/acc_top1"] == result.objective
    assert verify_model(tmp_path / "run") < 1e-5
    assert {row["split"] for row in rows_of(tmp_path / "run" / "predictions.csv")} == {"valid"}
    # Where the study is says nothing about the run, and may hold a password.
    for file in ("config.yaml", "model/training_config.yaml"):
        assert "study.db" not in (tmp_path / "run" / file).read_text()
    with pytest.raises(UserError, match="holds a finished run"):
        train(tree, tmp_path, study)


def test_a_trial_that_is_not_behind_goes_to_its_end(tree, tmp_path, study):
    study.set_user_attr(ABOUT, {**study.user_attrs[ABOUT], "pruner": pruner(startup_trials=2)})
    result, trial = train(tree, tmp_path, study)
    assert sorted(trial.intermediate_values) == list(range(EPOCHS))
    assert record(tmp_path)["state"] == "completed"
    assert result.early_end is None


@pytest.mark.parametrize("about", [{"pruner": pruner("none")}, {"objective": ["val/acc_top1", "seconds"]}])
def test_nobody_prunes(tree, tmp_path, study, about):
    study.set_user_attr(ABOUT, {**study.user_attrs[ABOUT], **about})
    _, trial = train(tree, tmp_path, study, "trainer.max_epochs=2")
    assert sorted(trial.intermediate_values) == [0, 1]
    assert record(tmp_path)["state"] == "completed"


def test_hyperband_counts_epochs_as_it_should(tree, tmp_path, study):
    study.set_user_attr(ABOUT, {**study.user_attrs[ABOUT], "pruner": pruner("hyperband")})
    _, trial = train(tree, tmp_path, study)
    assert record(tmp_path)["state"] in ("pruned", "completed")
    assert min(trial.intermediate_values) == 0


def test_epochs_without_validation_are_not_reported(tree, tmp_path, study):
    _, trial = train(tree, tmp_path, study, "trainer.check_val_every_n_epoch=2")
    assert list(trial.intermediate_values) == [1]
    assert record(tmp_path)["reason"].startswith("after epoch 2 ")


def test_a_study_that_does_not_answer_ends_nothing(tree, tmp_path, study, caplog):
    caplog.set_level("INFO")
    keys = [f"trial.storage='sqlite:///{tmp_path}/no/such/study.db'", "trial.study=x", "trial.number=0"]
    (tmp_path / "no").write_text("a file, not a folder")
    fit_run(compose_quick(tree, *SCRATCH, *keys), tmp_path / "run", is_trial=True)
    assert record(tmp_path)["state"] == "completed"
    said = [line for line in caplog.messages if line.startswith("trial ")]
    assert len(said) == 1
    assert "goes on without being compared with others: its study does not answer (" in said[0]


def test_a_trial_that_was_taken_for_dead_gives_way_to_its_successor(tree, tmp_path, study):
    number = study.ask().number
    trial_id = study.get_trials()[number]._trial_id
    study._storage.set_trial_user_attr(trial_id, "requeued_as", 7)
    study.tell(number, state=TrialState.FAIL)
    cfg = compose_quick(tree, *SCRATCH, *keys_of(study, tmp_path, number))
    with pytest.raises(UserError, match="Trial 1 gave no sign of life .*; trial 7 has its values now"):
        fit_run(cfg, tmp_path / "run", is_trial=True)
    assert record(tmp_path)["state"] == "failed"


def test_one_that_dies_before_it_is_measured_is_still_pruned(tree, tmp_path, study, monkeypatch):
    def die(*arguments, **options):
        raise KeyboardInterrupt

    number = study.ask().number
    cfg = compose_quick(tree, *SCRATCH, *keys_of(study, tmp_path, number))
    with monkeypatch.context() as patch:
        patch.setattr(fit_run_module, "measure", die)
        with pytest.raises(KeyboardInterrupt):
            fit_run(cfg, tmp_path / "run", is_trial=True)
    assert record(tmp_path)["state"] == "interrupted"
    fit_run(cfg, tmp_path / "run", is_trial=True)
    assert record(tmp_path)["state"] == "pruned"
    assert record(tmp_path)["reason"].startswith("after epoch 2 ")
    assert len(rows_of(tmp_path / "run" / "metrics.csv")) == 2


@pytest.mark.slow
def test_several_ranks_end_together(tree, tmp_path, study):
    result, trial = train(tree, tmp_path, study, "trainer.devices=2")
    assert record(tmp_path)["state"] == "pruned"
    assert sorted(trial.intermediate_values) == [0, 1]
    assert result.early_end.reason == record(tmp_path)["reason"]
    assert [row["epoch"] for row in rows_of(tmp_path / "run" / "metrics.csv")] == ["1", "2"]


# -- without a study ---------------------------------------------------------


@pytest.mark.slow
def test_other_runs_have_nothing_of_it():
    script = (
        "import sys; from dogbreed.sweeps.pruning import build_callbacks; "
        "assert build_callbacks(None, None, None) == []; assert 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_half_a_trial_is_refused():
    with pytest.raises(UserError, match=r"trial.number must be given with the other trial"):
        build_callbacks("sqlite:///x.db", "study")


# -- sick trials -------------------------------------------------------------


def test_a_trial_whose_loss_is_no_number_is_an_answer_like_any_other(tree, tmp_path, study):
    result, trial = train(tree, tmp_path, study, "optim.lr=1e30")
    assert math.isnan(result.objective)
    run = record(tmp_path)
    assert (run["state"], run["issue"]) == ("pruned", "not_finite")
    assert "optim.lr=1e+30 is far above what fits here" in run["reason"]
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert trial.state == TrialState.RUNNING  # settled by who has asked for it


def test_outside_of_a_search_it_is_an_error(tree, tmp_path):
    cfg = compose_quick(tree, *SCRATCH, "optim.lr=1e30")
    with pytest.raises(UserError, match="far above"):
        fit_run(cfg, tmp_path / "run", is_trial=True)
    assert record(tmp_path)["state"] == "failed"


def test_a_trial_that_is_lost_ends_early(tree, tmp_path, study):
    study.set_user_attr(ABOUT, {**study.user_attrs[ABOUT], "pruner": pruner("none")})
    more = ["optim.lr=1e-12", "trainer.max_epochs=12", "augment=none"]
    result, _ = train(tree, tmp_path, study, *more)
    run = record(tmp_path)
    assert run["state"] == "pruned"
    assert run["issue"] in ("unchanged_tensor", "weight_update_ratio", "vanishing_gradient")
    assert run["reason"].startswith(f"{run['issue']}: ")
    assert "after epoch 7 it has learned nothing" in run["reason"]  # 3 steps an epoch, 20 at least
    assert result.early_end.issue == run["issue"]
    assert len(rows_of(tmp_path / "run" / "metrics.csv")) == 7


def test_one_that_is_sick_and_learns_all_the_same_goes_on(tree, tmp_path, study):
    study.set_user_attr(ABOUT, {**study.user_attrs[ABOUT], "pruner": pruner("none")})
    # A rule that always fires: half of all gradients are below 1.
    sick = ["diagnose.rules.vanishing_gradient.threshold=1.0", "diagnose.rules.vanishing_gradient.patience=1"]
    train(tree, tmp_path, study, *sick, "optim.lr=3e-3", "trainer.max_epochs=10")
    run = record(tmp_path)
    assert run["state"] == "completed"
    table = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
    assert {row["name"]: row["verdict"] for row in table}["vanishing_gradient"] == "issue"
