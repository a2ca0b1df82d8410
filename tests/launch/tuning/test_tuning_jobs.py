"""How a tuning job is followed, looked after and brought home."""

import json

import pytest
from launch_jobs import wait_until
from tuning_jobs import child, finish, give

from launch.record import LaunchRecord

STANDIN = "driven"


def test_jobs_list_show_logs_and_stop(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=9", "max_parallel=2", "launch.name=listed")
    finish(tuning, 1, 0.75)
    finish(tuning, 2, status="Failed", reason="AlgorithmError: No picture., exit code: 1")
    child(tuning, 4)
    shown = jobs("show", tmp_path / "search")
    assert shown.code == 0, shown.err
    pairs = dict(line.split(maxsplit=1) for line in shown.out.split("\n\n")[0].splitlines())
    assert pairs["status"] == "InProgress (2 of 9 jobs)"
    assert pairs["search"] == "Bayesian, 9 jobs, 2 at a time"
    assert pairs["machine"] == "1 × ml.c6i.2xlarge"
    assert pairs["objective"] == "val/acc_top1 0.75"
    first, *rest = shown.out.split("\n\n")[1].splitlines()[2:]
    assert first.split()[:2] == ["1", "0.75"]
    assert "Failed: No picture" in " ".join(rest)
    assert jobs("show", tuning.name, "--runs", tmp_path / "none").out.count("listed-") > 4

    listed = jobs("list", "--prefix", "listed")
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == [tuning.name]  # its jobs are told of with it

    log = jobs("logs", tuning.name).out.splitlines()
    assert any(line.startswith("#1 begins  data.batch_size=") for line in log)
    assert any(line.startswith("#1 done after") and line.endswith("val/acc_top1=0.75") for line in log)
    assert any(line.startswith("#2 failed") and "No picture" in line for line in log)

    answer = jobs("stop", tmp_path / "search", "--yes")
    assert answer.code == 0, answer.err
    assert all(job.stop_asked.is_set() for job in tuning.children if not job.is_over)
    for job in tuning.children:
        if not job.is_over:
            job.end("Stopped")
    wait_until(lambda: tuning.is_over)
    assert "is over: Stopped" in jobs("stop", tmp_path / "search").out


def test_following_tells_each_job_once_and_ends_with_the_search(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=2")
    finish(tuning, 1, 0.5)
    finish(tuning, 2, 0.25)
    wait_until(lambda: tuning.is_over)
    answer = jobs("logs", "-f", tmp_path / "search", "--poll-s", "0.1")
    assert answer.code == 0, answer.err
    assert [line[:4] for line in answer.out.splitlines() if line.startswith("#")] == ["#1 b", "#1 d", "#2 b", "#2 d"]
    assert "val/acc_top1         0.5" in answer.out
    assert "#" not in jobs("logs", "-f", tmp_path / "search", "--poll-s", "0.1").out


def test_fetch_brings_the_runs_of_all_and_the_model_of_the_best(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=3", "stop_early=true")
    give(aws, tuning, 1, **{"metrics.json": '{"val/acc_top1": 0.5}'})
    finish(tuning, 1, 0.5)
    give(aws, tuning, 2, **{"metrics.json": '{"val/acc_top1": 0.75}'})
    finish(tuning, 2, 0.75)
    child(tuning, 3).record_metric("val/acc_top1", 0.1)
    finish(tuning, 3, status="Stopped")
    wait_until(lambda: tuning.is_over)
    folder = tmp_path / "search"
    answer = jobs("fetch", folder)
    assert answer.code == 0, answer.err
    sweep = json.loads((folder / "sweep.json").read_text())
    assert sweep["engine"] == "bayesian"
    assert sweep["state"] == "completed"
    assert sweep["best"] == 2
    assert sweep["params"] == {"optim.lr": "tag(log, interval(0.0001, 0.1))", "data.batch_size": "choice(4, 8)"}
    rows = {row["number"]: row for row in sweep["trials"]}
    assert {number: (row["state"], row["values"]) for number, row in rows.items()} == {
        1: ("completed", [0.5]),
        2: ("completed", [0.75]),
        3: ("pruned", [0.1]),
    }
    assert rows[3]["reason"] == "SageMaker stopped it early, since it was behind the others"
    assert rows[1]["run_folder"] == "1"
    assert set(rows[1]["params"]) == {"optim.lr", "data.batch_size"}
    assert any(text.startswith("data.root=/") for text in rows[1]["overrides"])  # as typed, not as in the job
    assert not any("launch" in text for text in rows[1]["overrides"])
    assert (folder / "2" / "model" / "model.json").is_file()
    assert not (folder / "1" / "model").exists()
    assert "has all of it since" in jobs("fetch", folder).out
    assert jobs("fetch", folder, "--all").code == 0
    assert (folder / "1" / "model" / "model.json").is_file()


def test_fetch_of_one_that_runs_says_what_there_is(aws, search, jobs, tmp_path):
    tuning = search("max_jobs=3")
    finish(tuning, 1, 0.5)
    child(tuning, 2)
    answer = jobs("fetch", tuning.name, "--into", tmp_path / "home", "--runs", tmp_path / "none")
    assert answer.code == 0, answer.err
    sweep = json.loads((tmp_path / "home" / "sweep.json").read_text())
    assert sweep["state"] == "running"
    assert [row["state"] for row in sweep["trials"]] == ["completed", "running"]
    # Without a folder that knows what was typed, the data are where the jobs had them from.
    (root,) = [text for text in sweep["trials"][0]["overrides"] if text.startswith("data.root=")]
    assert root.startswith(f'data.root="s3://{aws.bucket}/dogbreed/data/')


def test_a_launch_that_lost_its_answer_is_no_clash_with_itself(aws, search, connection, tmp_path):
    from launch.aws.tuning_jobs import TuningJobs

    tuning = search("max_jobs=2")
    service = TuningJobs(connection)
    request = LaunchRecord.read(tmp_path / "search").request
    assert service.create(request) == tuning.arn
    other = {**request, "HyperParameterTuningJobConfig": {**request["HyperParameterTuningJobConfig"], "RandomSeed": 9}}
    with pytest.raises(Exception, match=r"exists already in us-east-1: choose another with launch.name=NAME"):
        service.create(other)
