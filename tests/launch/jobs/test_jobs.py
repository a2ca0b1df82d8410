"""The commands that look after jobs, also without the process that started them."""

import json
import os
import pty
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from launch_jobs import archive, log, request

from launch.record import FILE_NAME, LaunchRecord, find_records


@pytest.fixture
def launch(aws, service, tmp_path):
    """Start a job from a run folder."""

    def start(name, most_usd=None, **more):
        asked = request(aws, name, **more)
        service.create(asked)
        run_dir = tmp_path / "runs" / f"folder-of-{name}"
        run_dir.mkdir(parents=True)
        LaunchRecord(name, aws.region, asked, endpoint_url=aws.url, most_usd=most_usd).write(run_dir)
        return run_dir

    return start


def rows(answer):
    return [line.split() for line in answer.out.splitlines()[2:]]


def test_list_shows_jobs_of_aws_and_of_run_folders(aws, service, jobs, launch):
    service.create(request(aws, "list-elsewhere"))
    run_dir = launch("list-here", most_usd=6.0)
    job = aws.job("list-here")
    job.enter("Downloading")
    job.enter("Training")
    job.record_metric("val/acc_top1", 0.875)
    job.training_start_time -= timedelta(seconds=300)
    answer = jobs("list", "--prefix", "list-")
    assert answer.code == 0, answer.err
    here, elsewhere = rows(answer)
    name, status, phase, _, _, seconds, usd, objective, folder = here
    assert (name, status, phase, objective) == ("list-here", "InProgress", "Training", "0.875")
    assert 300 <= int(seconds) < 310
    assert 3.0 <= float(usd) < 3.2  # half of the limit of 600 s that 6 USD are reckoned by
    assert folder == str(run_dir.relative_to(Path.cwd()))
    assert elsewhere[:3] == ["list-elsewhere", "InProgress", "Starting"]
    assert elsewhere[-3:] == ["–", "–", "–"]


def test_list_without_jobs(jobs):
    assert jobs("list", "--prefix", "no-such").out == "us-east-1 has no jobs of ours whose names begin with no-such.\n"


def test_show_tells_all_about_a_job(aws, jobs, launch):
    run_dir = launch("show", most_usd=6.0, EnableManagedSpotTraining=True)
    aws.job("show").enter("Downloading")
    aws.job("show").end("Failed", "AlgorithmError: Out of memory., exit code: 1")
    for target in ("show", run_dir):
        answer = jobs("show", target)
        assert answer.code == 0, answer.err
        pairs = dict(line.split(maxsplit=1) for line in answer.out.split("\n\n")[0].splitlines())
        assert pairs["failure"] == "Out of memory."
        assert pairs["machine"] == "1 × ml.g5.xlarge, spot"
        assert pairs["cost"] == "at most 0.01 USD so far, 6.00 USD in all"
        assert "Downloading input data" in answer.out
    assert LaunchRecord.read(run_dir).state == "Failed"


def test_logs_print_all_and_following_goes_on(aws, jobs, launch):
    run_dir = launch("logs")
    stream = log(aws, "logs")
    now_ms = time.time_ns() // 1_000_000
    stream.write([(now_ms, "line 1")])
    assert jobs("logs", run_dir).out == "line 1\n"
    aws.job("logs").end("Completed")
    assert jobs("logs", "-f", run_dir).out == "line 1\n"
    stream.write([(now_ms + 1, "line 2")])
    assert jobs("logs", "-f", run_dir).out == "line 2\n"
    assert jobs("logs", run_dir).out == "line 1\nline 2\n"


def test_a_job_without_lines_says_so(aws, jobs, launch):
    launch("quiet")
    answer = jobs("logs", "quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "quiet has printed nothing yet.\n")


def test_following_a_job_that_fails_ends_with_2_and_its_sentence(aws, jobs, launch):
    launch("fails")
    aws.job("fails").end("Failed", "AlgorithmError: No picture., exit code: 1")
    answer = jobs("logs", "-f", "fails")
    assert answer.code == 2
    assert answer.err.endswith("Error: The job fails failed: No picture.\n")


def test_stop(aws, jobs, launch):
    run_dir = launch("stop")
    answer = jobs("stop", run_dir, "--yes")
    assert answer.code == 0, answer.err
    assert f"stop is being stopped; python -m launch.jobs fetch {run_dir}" in answer.out
    assert LaunchRecord.read(run_dir).state == "Stopping"
    aws.job("stop").end("Stopped")
    assert jobs("stop", run_dir).out == "stop is over: Stopped.\n"


@pytest.mark.parametrize(("answer", "status"), [("y", "Stopping"), ("", "InProgress")])
def test_stop_asks_at_a_terminal(aws, jobs, launch, monkeypatch, answer, status):
    name = f"ask-{status.lower()}"
    launch(name)
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert jobs("stop", name).code == 0
    os.close(ours)
    assert aws.job(name).training_job_status == status


def give(aws, name):
    s3 = aws.worker.client("s3")
    root = f"dogbreed/jobs/{name}/output/{name}/output"
    s3.put_object(Bucket=aws.bucket, Key=f"{root}/output.tar.gz", Body=archive({"run/metrics.json": "{}"}))
    s3.put_object(Bucket=aws.bucket, Key=f"{root}/model.tar.gz", Body=archive({"model.json": "{}"}))


def test_fetch_into_the_run_folder_once(aws, jobs, launch):
    run_dir = launch("fetch")
    give(aws, "fetch")
    answer = jobs("fetch", run_dir)
    assert (answer.code, answer.err.splitlines()[-1]) == (
        0,
        "fetch is not over (Starting): fetch again later for the rest.",
    )
    assert LaunchRecord.read(run_dir).fetched is None
    aws.job("fetch").end("Completed")
    answer = jobs("fetch", run_dir)
    assert answer.out == f"fetched run, model: 2 files, 0.0 MB\nrun     {run_dir}\n"
    assert (run_dir / "model" / "model.json").is_file()
    assert "has all of it since" in jobs("fetch", run_dir).out
    (run_dir / "metrics.json").unlink()
    assert "2 files" in jobs("fetch", run_dir, "--again").out


def test_fetch_on_another_machine_makes_the_folder(aws, service, jobs, tmp_path):
    service.create(request(aws, "far"))
    give(aws, "far")
    aws.job("far").end("Completed")
    answer = jobs("fetch", "far", "--into", tmp_path / "home")
    assert answer.code == 0, answer.err
    assert json.loads((tmp_path / "home" / "metrics.json").read_text()) == {}
    # From now on the folder names the job.
    assert "far" in jobs("show", tmp_path / "home").out
    assert "has all of it since" in jobs("fetch", tmp_path / "home").out


def test_without_a_name_it_is_the_newest_run_folder(aws, jobs, launch, tmp_path):
    for age_s, name in ((100, "newest-older"), (50, "newest-newer")):
        run_dir = launch(name)
        then = time.time() - age_s
        os.utime(run_dir / FILE_NAME, (then, then))
    assert [record.job_name for _, record in find_records(tmp_path / "runs")] == ["newest-newer", "newest-older"]
    assert "newest-newer" in jobs("show").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show",), "No job was shipped from runs: name one"),
        (("show", "mispelled-job"), "There is no training job mispelled-job in us-east-1.*Did you mean misspelled-job"),
        (("show", "./empty"), "empty has no launch.json, so no job was shipped from it: name the job itself"),
        (("show", "./damaged"), "launch.json is damaged: name the job itself"),
        (("list", "--region", "us-esat-1"), "us-esat-1 is no region that has SageMaker. Did you mean .*us-east-1"),
    ],
)
def test_bad_input_is_a_sentence(aws, service, jobs, tmp_path, arguments, sentence):
    if "misspelled-job" not in [state.name for state in service.list_ours("misspelled", 1)]:
        service.create(request(aws, "misspelled-job"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE_NAME).write_text('{"job_name": ')
    answer = jobs(*arguments)
    assert answer.code == 2
    assert re.search(sentence, answer.err), answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("lst",), ("list", "--limit", "0"), ("logs", "-f", "--poll-s", "0")])
def test_a_wrong_command_line_is_refused(jobs, arguments):
    answer = jobs(*arguments)
    assert answer.code == 2
    assert "usage: python -m launch.jobs" in answer.err


def test_help_is_short_and_has_examples(jobs):
    answer = jobs("--help")
    assert answer.code == 0
    assert "examples:" in answer.out
    assert len(answer.out.splitlines()) < 35


def test_expired_credentials_are_a_sentence(aws, jobs):
    aws.faults.set(expire_after=0)
    answer = jobs("list")
    assert answer.code == 2
    assert "credentials have expired: log in anew" in answer.err
