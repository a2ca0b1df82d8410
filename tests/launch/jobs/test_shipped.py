"""Runs that were really shipped: through the API, the toolkit and S3, and home again."""

import json

import pytest
from helpers import QUICK, rows_of

from dogbreed import compose, fit_run, load_model

STANDIN = "running"
pytestmark = pytest.mark.slow  # tests/launch/test_local.py is the quick one
WORDS = [*QUICK, "data=folder"]


@pytest.fixture
def ship(cli, tree, tmp_path):
    def run(*more, command="launch.train"):
        place = [] if "-m" in more else [f"hydra.run.dir={tmp_path / 'run'}"]
        return cli(command, *WORDS, f"data.root={tree}", "launch=cpu", "launch.poll_s=0.2", *place, *more)

    return run


def numbers(run_dir):
    """Return what two equal runs share."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    rows = [{key: value for key, value in row.items() if "/" in key} for row in rows_of(run_dir / "metrics.csv")]
    predictions = (run_dir / "predictions.csv").read_text()
    weights = (run_dir / "model" / "model.safetensors").read_bytes()
    return {key: value for key, value in metrics.items() if "/" in key}, rows, predictions, weights


def test_a_shipped_run_comes_home_as_if_it_had_run_here(aws, ship, tree, tmp_path):
    answer = ship("report=true")
    assert answer.code == 0, answer.err
    home = tmp_path / "run"
    here = fit_run(compose([*WORDS, f"data.root='{tree}'"]), tmp_path / "here").run_dir
    assert numbers(home) == numbers(here)
    assert {path.name for path in (home / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (home / "report.html").stat().st_size > 10_000
    assert load_model(home / "model").predict([next(tree.glob("test/red/*"))])[0].labels
    record = json.loads((home / "launch.json").read_text())
    assert record["state"] == "Completed"
    assert record["fetched"]
    assert answer.out.count("[metrics] epoch=1 ") == 1
    assert f"run     {home}" in answer.out


def test_a_job_that_fails_ends_with_its_own_sentence(aws, ship, tmp_path):
    answer = ship("optim.lr=1e30", "trainer.log_every_n_steps=1")
    assert answer.code == 2
    assert "optim.lr=1e+30" in answer.err.splitlines()[-1]
    assert (tmp_path / "run" / "run.json").exists()


def test_spot_taken_away_half_way_comes_to_the_same(aws, ship, tree, tmp_path):
    aws.faults.set(interrupt_on="[metrics] epoch=1")
    answer = ship("launch.spot=true", "checkpoint_every_s=0", "trainer.max_epochs=3")
    assert answer.code == 0, answer.err
    name = json.loads((tmp_path / "run" / "launch.json").read_text())["job_name"]
    description = aws.worker.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert "Interrupted" in [step["Status"] for step in description["SecondaryStatusTransitions"]]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    words = [*WORDS, f"data.root='{tree}'", "trainer.max_epochs=3"]
    assert numbers(tmp_path / "run") == numbers(fit_run(compose(words), tmp_path / "here").run_dir)


def test_a_sweep_is_shipped_job_by_job(aws, ship, tmp_path):
    words = ["hydra/launcher=sagemaker", "optim.lr=1e-3,1e30", "trainer.log_every_n_steps=1"]
    answer = ship(*words, f"hydra.sweep.dir={tmp_path / 'sweep'}", "-m", command="train")
    assert answer.code == 0, answer.err
    sweep = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    states = [trial["state"] for trial in sweep["trials"]]
    assert states == ["completed", "failed"]
    assert (tmp_path / "sweep" / "0" / "model" / "model.safetensors").exists()
    assert "test/acc_top1" not in json.loads((tmp_path / "sweep" / "0" / "metrics.json").read_text())


def test_two_machines_train_what_one_does(aws, ship, tree, tmp_path):
    answer = ship("launch.instance_count=2", "trainer.num_nodes=2", "trainer.max_epochs=1")
    assert answer.code == 0, answer.err
    home = json.loads((tmp_path / "run" / "metrics.json").read_text())
    words = [*WORDS, f"data.root='{tree}'", "trainer.max_epochs=1"]
    here = fit_run(compose(words), tmp_path / "here").metrics
    assert home["val/loss"] == pytest.approx(here["val/loss"], rel=0.02)
