"""A tuning job whose jobs really train: through the API, the toolkit and S3, and home again."""

import json

import pytest
from helpers import QUICK
from launch_jobs import wait_until

from launch.overrides import from_hyperparameters
from launch.record import LaunchRecord
from launch.standin import StandIn

STANDIN = "parallel"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parallel():
    """Runs two jobs at a time with the real toolkit."""
    from launch_jobs import TOOLKIT

    with StandIn(toolkit=TOOLKIT, max_jobs=2) as standin:
        yield standin


def test_the_winner_found_is_the_winner_of_the_workers_own_record(aws, cli, jobs, tree, tmp_path):
    folder = tmp_path / "search"
    words = [*QUICK, "data=folder", f"data.root={tree}", "launch=cpu", "launch.poll_s=0.2", f"hydra.run.dir={folder}"]
    space = ["optim.lr=tag(log, interval(1e-5, 1e-1))", "data.batch_size=4,8", "optim=choice(adamw, sgd)"]
    answer = cli("launch.tune", *words, *space, "max_jobs=4", "max_parallel=2", "strategy=random", "launch.spot=true")
    assert answer.code == 0, answer.err
    tuning = aws.tuning_job(LaunchRecord.read(folder).job_name)
    assert len(tuning.children) == 4
    values = {number: tuning.value_of(job) for number, job in enumerate(tuning.children, 1)}
    sweep = json.loads((folder / "sweep.json").read_text())
    assert sweep["state"] == "completed"
    assert values[sweep["best"]] == max(values.values())
    assert tuning.best() is tuning.children[sweep["best"] - 1] or values[sweep["best"]] == tuning.value_of(
        tuning.best()
    )
    began = sorted(job.training_start_time for job in tuning.children)
    ended = sorted(job.training_end_time for job in tuning.children)
    assert began[1] < ended[0]  # two at a time

    for row in sweep["trials"]:
        job = tuning.children[row["number"] - 1]
        assert row["values"][0] == pytest.approx(values[row["number"]], abs=1e-6)
        home = folder / row["run_folder"]
        metrics = json.loads((home / "metrics.json").read_text())
        assert not any(name.startswith("test/") for name in metrics)
        assert all(line.split(",")[0] != "test" for line in (home / "predictions.csv").read_text().splitlines())
        config = (home / ".hydra" / "config.yaml").read_text()
        assert f"batch_size: {row['params']['data.batch_size']}" in config
        given = from_hyperparameters(job.request["HyperParameters"])
        assert f"data.batch_size={row['params']['data.batch_size']}" in given
    # Each job had a place of its own for checkpoints, and the best one's came home.
    keys = [item["Key"] for item in aws.worker.client("s3").list_objects_v2(Bucket=aws.bucket)["Contents"]]
    places = {key.rpartition("/checkpoints/")[2].partition("/")[0] for key in keys if "/checkpoints/" in key}
    assert places == {job.training_job_name for job in tuning.children}
    best = folder / str(sweep["best"])
    assert {path.name for path in (best / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (best / "model" / "model.safetensors").is_file()
    assert f"best    #{sweep['best']} val/acc_top1=" in answer.out
    child = tuning.children[0].training_job_name
    assert "[result] " in jobs("logs", child).out


def test_a_job_without_a_value_is_a_failed_row_and_the_others_go_on(aws, cli, tree, tmp_path):
    folder = tmp_path / "search"
    words = [*QUICK, "data=folder", f"data.root={tree}", "launch=cpu", "launch.poll_s=0.2", f"hydra.run.dir={folder}"]
    more = ["strategy=grid", "optim.lr=1e-3,1e30", "trainer.log_every_n_steps=1", "trainer.max_epochs=1"]
    answer = cli("launch.tune", *words, *more, "max_parallel=2")
    assert answer.code == 0, answer.err
    rows = json.loads((folder / "sweep.json").read_text())["trials"]
    assert [row["state"] for row in rows] == ["completed", "failed"]
    assert "optim.lr=1e+30" in rows[1]["error"]
    wait_until(lambda: aws.tuning_job(LaunchRecord.read(folder).job_name).is_over)


def test_a_file_of_conf_sweep_drives_it_and_the_winner_is_trained(aws, cli, jobs, tree, tmp_path):
    """Its sweeper is named in what each job composes; a spot job goes on from a checkpoint of its own."""
    aws.faults.set(interrupt_on="[metrics] epoch=1")
    folder = tmp_path / "search"
    words = [*QUICK, "data=folder", f"data.root={tree}", "launch=cpu", "launch.poll_s=0.2"]
    more = ["sweep=resnet18_adamw", "data.batch_size=4,8", "max_jobs=1", "max_parallel=1", "trainer.max_epochs=3"]
    spot = ["launch.spot=true", "checkpoint_every_s=0"]
    answer = cli("launch.tune", *words, *more, *spot, f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    (job,) = aws.tuning_job(LaunchRecord.read(folder).job_name).children
    assert "Interrupted" in [entry["Status"] for entry in job.transitions]
    assert [line.split(",")[0] for line in (folder / "1" / "metrics.csv").read_text().splitlines()[1:]] == [
        "1",
        "2",
        "3",
    ]
    sweep = json.loads((folder / "sweep.json").read_text())
    assert {"optim.lr", "optim.weight_decay", "optim.eps", "data.batch_size"} == set(sweep["params"])
    aws.faults.clear()

    final = ["trainer.max_epochs=2", "report=false", "launch=cpu", "launch.poll_s=0.2"]
    answer = cli("launch.train", f"from_tuning={folder}", *final, f"hydra.run.dir={tmp_path / 'winner'}")
    assert answer.code == 0, answer.err
    assert "test/acc_top1" in json.loads((tmp_path / "winner" / "metrics.json").read_text())
    origin = json.loads((tmp_path / "winner" / "run.json").read_text())["origin"]
    assert (origin["sweep"], origin["trial"]) == (LaunchRecord.read(folder).job_name, 1)
    config = (tmp_path / "winner" / "config.yaml").read_text()
    assert f"batch_size: {sweep['trials'][0]['params']['data.batch_size']}" in config

    here = cli("train", f"from_sweep={folder}", *final[:2], f"hydra.run.dir={tmp_path / 'here'}")
    assert here.code == 0, here.err
    assert "test/acc_top1" in json.loads((tmp_path / "here" / "metrics.json").read_text())
