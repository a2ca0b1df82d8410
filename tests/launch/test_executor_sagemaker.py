"""A sweep of shipped jobs: the same record as of one that ran here, from run folders that came home."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from shipments import ScriptShipment

from dogbreed import UserError, compose
from launch.executor import Limits, SweepJob
from launch.executor_sagemaker import SageMakerExecutor

TESTS = Path(__file__).resolve().parents[1]
SHIPPED = (
    "-m", "hydra/launcher=sagemaker", "hydra.launcher.executor=shipments.ScriptExecutor", "launch=_base",
    "launch.instance_type=ml.g5.xlarge", "launch.poll_s=0.02", "hydra.sweep.dir=s",
)  # fmt: skip


def shipped_in(folder):
    return [json.loads(line) for line in (folder / "shipped.jsonl").read_text().splitlines()]


def test_a_sweep_is_recorded_as_if_it_had_run_here(cli, tmp_path):
    answer = cli("train", *SHIPPED, "seed=1,11,21,3", "optim.lr=1e-3", "launch.max_concurrent=2")
    assert answer.code == 0, answer.err
    sweep = json.loads((tmp_path / "s" / "sweep.json").read_text())
    trials = sweep["trials"]
    assert [trial["state"] for trial in trials] == ["completed", "failed", "failed", "completed"]
    assert [trial["values"] for trial in trials] == [[0.1], [None], [None], [0.3]]
    assert [trial["error"] for trial in trials] == [None, "No room for 11.", "The job dogs failed: exit code 1.", None]
    assert [trial["run_folder"] for trial in trials] == ["0", "1", "2", "3"]
    assert trials[0]["seconds"] == 2.5
    assert trials[0]["issues"] == ["overfit"]
    assert (sweep["best"], sweep["engine"]) == (3, "basic")
    assert "optim.lr=0.001" in trials[0]["overrides"]
    assert (tmp_path / "s" / "sweep.html").is_file()
    assert "#3 done" in answer.out + answer.err
    # What was sent: the job's own overrides, none of Hydra's, and what a trial does not look at.
    for line in shipped_in(tmp_path / "s"):
        assert line["overrides"][-1] == "test_after_fit=false"
        assert line["test"] is False
        assert f"seed={line['seed']}" in line["overrides"]
        assert "launch=_base" in line["overrides"]
        assert not any(word.startswith("hydra") for word in line["overrides"])


def test_several_objectives_and_batches_after_a_failed_one(cli, tmp_path):
    more = [
        "objective=[val/acc_top1,val/loss]",
        "hydra.sweeper.max_batch_size=1",
        "test_after_fit=true",
        "report=false",
    ]
    answer = cli("train", *SHIPPED, "seed=12,2", *more)
    assert answer.code == 0, answer.err
    trials = json.loads((tmp_path / "s" / "sweep.json").read_text())["trials"]
    assert [trial["values"] for trial in trials] == [[None, None], [0.2, 0.8]]
    assert [line["test"] for line in shipped_in(tmp_path / "s")] == [True, True]


def test_a_sweep_without_one_result_ends_with_2(cli, tmp_path):
    answer = cli("train", *SHIPPED, "seed=13,22", "report=false")
    assert answer.code == 2
    assert answer.err.count("None of the 2 trials finished") == 1
    assert "failed: No room for 13." in answer.out + answer.err


def test_a_sweep_that_names_no_machine_is_refused_before_anything_is_sent(cli, tmp_path):
    answer = cli("train", *(word for word in SHIPPED if not word.startswith("launch")), "seed=1,2")
    assert answer.code == 2
    assert answer.err.startswith(
        "Error: hydra/launcher=sagemaker ships every job, and launch is not set: choose a machine"
    )
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "s" / "shipped.jsonl").exists()


@pytest.fixture(scope="module")
def composed():
    return compose(["launch=_base", "launch.instance_type=ml.g5.xlarge"])


def settled(composed, asked, **changes):
    """Settle a batch of two jobs, the second one with these values."""
    changed = OmegaConf.merge(composed, OmegaConf.from_dotlist([f"{key}={value}" for key, value in changes.items()]))
    jobs = [SweepJob(number, (), cfg, OmegaConf.create(), Path()) for number, cfg in enumerate((composed, changed))]
    return SageMakerExecutor(submit=ScriptShipment).settle(jobs, asked)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("launch.wait", "false", r"launch\.wait=false with hydra/launcher=sagemaker: a sweep waits"),
        ("launch.dry_run", "true", r"launch\.dry_run=true with hydra/launcher=sagemaker: python -m launch\.train"),
        ("resume", "runs/one", r"resume=runs/one with hydra/launcher=sagemaker: a job goes on"),
        ("checkpoint_dir", "here", r"checkpoint_dir=here with hydra/launcher=sagemaker: a job has its own"),
        ("launch.target", "local", r"max_concurrent=2: with launch\.target=local .* one after the other"),
    ],
)
def test_what_cannot_be_shipped(composed, key, value, match):
    with pytest.raises(UserError, match=match):
        settled(composed, Limits(max_concurrent=2), **{key: value})


def test_limits_are_those_of_launch_unless_hydra_says_others(composed):
    assert settled(composed, Limits()) == Limits(4, None, 5.0)
    assert settled(composed, Limits(2, 60.0, 1.0)) == Limits(2, 60.0, 1.0)
    assert settled(composed, Limits(), **{"launch.max_concurrent": 3, "launch.poll_s": 2}) == Limits(3, None, 2.0)
    both = OmegaConf.merge(composed, {"launch": {"timeout_s": 60.0}})
    assert settled(both, Limits(), **{"launch.timeout_s": 90}).timeout_s == 90.0
    assert settled(composed, Limits(), **{"launch.timeout_s": 90}).timeout_s is None  # of the first, there is no limit
    assert settled(composed, Limits(), **{"launch.target": "local"}).max_concurrent == 1


def test_a_single_run_has_no_use_for_a_launcher(cli, tmp_path):
    answer = cli("train", *SHIPPED[1:], "seed=1", "hydra.run.dir=r")
    assert answer.code == 2
    assert (
        answer.err == "Error: hydra/launcher=sagemaker is for the jobs of a sweep, and this is a single run: add -m.\n"
    )
    assert not (tmp_path / "r").exists()


# -- Ctrl-C ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [pytest.param("\n", id="leave", marks=pytest.mark.slow), pytest.param("y\n", id="stop"),
     pytest.param(None, id="no terminal", marks=pytest.mark.slow)],
)  # fmt: skip
def test_ctrl_c_asks_at_a_terminal_whether_to_stop_the_jobs(tmp_path, reply):
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "dogbreed.train", *SHIPPED, "seed=60,1", "launch.max_concurrent=1", "report=false"]
    path = os.pathsep.join([str(TESTS), *sys.path])
    terminal = {"stdin": theirs, "stderr": theirs} if reply else {"stdin": subprocess.DEVNULL, "stderr": theirs}
    sweep = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, **terminal,
                             env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    os.close(theirs)
    deadline = time.monotonic() + 60
    while not (tmp_path / "s" / "shipped.jsonl").exists():
        assert time.monotonic() < deadline
        assert sweep.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    sweep.send_signal(signal.SIGINT)
    said = ""
    if reply:
        while "[y/N]" not in said:
            said += os.read(ours, 1000).decode()
        os.write(ours, reply.encode())
    while sweep.poll() is None:
        try:
            said += os.read(ours, 1000).decode()
        except OSError:
            break
    assert sweep.wait(timeout=30) == 130, said
    (job,) = shipped_in(tmp_path / "s")  # the other one was never sent
    is_alive = (
        Path(f"/proc/{job['pid']}").exists() and "Z" not in Path(f"/proc/{job['pid']}/stat").read_text().split()[2]
    )
    assert is_alive == (reply != "y\n")
    state = json.loads((tmp_path / "s" / "0" / "run.json").read_text())
    if is_alive:
        os.kill(job["pid"], signal.SIGKILL)
        assert state["state"] == "running"
        assert "Still running: #0; see python -m launch.jobs list" in said
    else:
        assert (state["state"], state["error"]) == ("failed", "Stopped.")
        assert "Stopped: #0." in said
    os.close(ours)
