"""Several workers on one machine: what each gets, and what becomes of all when one or their parent ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import crew_app
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import UserError
from dogbreed.machine import num_cpus
from dogbreed.sweeps.shares import share_out

APP = Path(crew_app.__file__)
NUM_TRIALS = 12


@pytest.fixture
def crew(tmp_path):
    """Start the command; it and all of its workers are gone at the end."""
    started = []

    def start(kind, *command, num_trials=NUM_TRIALS):
        arguments = [kind, f"hydra.sweep.dir={tmp_path}/first/sweep", f"NUM_TRIALS={num_trials}"]
        started.append(
            subprocess.Popen(
                [sys.executable, *(command or [str(APP)]), *arguments],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def sweep(tmp_path):
    return tmp_path / "first" / "sweep"


def states(tmp_path):
    return [json.loads(file.read_text()) for file in sweep(tmp_path).glob("*/run.json")]


def workers_of(tmp_path):
    """Process numbers of all that were started; each has said so in its log."""
    lines = [line for index in (0, 1) for line in (sweep(tmp_path) / f"worker-{index}.log").read_text().splitlines()]
    return [json.loads(line.removeprefix("worker "))["pid"] for line in lines if line.startswith("worker ")]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("command", [(), ("-m", "crew_app")])
def test_all_trials_are_run_by_workers_with_a_share_each(crew, tmp_path, command):
    parent = crew("well", *command)
    assert parent.wait(timeout=60) == 0, parent.stderr.read()
    runs = states(tmp_path)
    assert [run["state"] for run in runs] == ["completed"] * NUM_TRIALS
    assert {run["pid"] for run in runs} <= set(workers_of(tmp_path))
    assert len(workers_of(tmp_path)) == 2
    # The same command line, the folder of this sweep, and one trial at a time.
    own = [f"hydra.sweep.dir={sweep(tmp_path)}", "hydra.sweeper.n_jobs=1"]
    assert {tuple(run["overrides"][-2:]) for run in runs} == {tuple(own)}
    assert f"NUM_TRIALS={NUM_TRIALS}" in runs[0]["overrides"]
    assert {run["num_cpus"] for run in runs} <= {max(1, num_cpus() // 2), max(1, (num_cpus() + 1) // 2)}
    assert len(sweep(tmp_path).with_suffix(".changes").read_text()) > 1


def test_a_worker_that_is_killed_is_replaced(crew, tmp_path):
    parent = crew("well", num_trials=40)
    wait_for(lambda: len(states(tmp_path)) >= 3)
    victim = states(tmp_path)[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    assert parent.wait(timeout=60) == 0
    assert "was ended by SIGKILL" in parent.stderr.read()
    runs = states(tmp_path)
    assert len(workers_of(tmp_path)) == 3
    assert {run["pid"] for run in runs} <= set(workers_of(tmp_path))
    # This command has nobody who takes up what was killed; a search has its study.
    assert sum(run["state"] != "completed" for run in runs) <= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_workers_which_save(crew, tmp_path, number):
    parent = crew("long")
    wait_for(lambda: len(states(tmp_path)) == 2)
    parent.send_signal(number)
    assert parent.wait(timeout=60) == 130
    assert {file.name for file in sweep(tmp_path).glob("saved-*")} == {"saved-0", "saved-1"}
    assert not any(is_alive(run["pid"]) for run in states(tmp_path))


def test_workers_do_not_outlive_a_parent_that_is_killed(crew, tmp_path):
    parent = crew("long")
    wait_for(lambda: len(states(tmp_path)) == 2)
    parent.kill()
    wait_for(lambda: not any(is_alive(run["pid"]) for run in states(tmp_path)))
    assert {file.name for file in sweep(tmp_path).glob("saved-*")} == {"saved-0", "saved-1"}


def test_a_sentence_of_one_is_the_sentence_of_all(crew, tmp_path):
    parent = crew("complains", num_trials=10_000)
    assert parent.wait(timeout=60) == 2
    assert parent.stderr.read().strip().splitlines()[-1] == "Error: There is no such thing."
    assert not any(is_alive(run["pid"]) for run in states(tmp_path))


def test_workers_that_die_again_and_again_end_it(crew):
    parent = crew("dies")
    assert parent.wait(timeout=120) == 2
    said = parent.stderr.read()
    assert "Workers die again and again; the last one was ended by SIGKILL" in said
    assert said.count("another one takes its place") == 4


# -- shares ------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 64), st.integers(1, 64))
def test_cores_are_shared_out_once_and_evenly(num_workers, num_cores, quota):
    cores, usable = list(range(10, 10 + num_cores)), min(num_cores, quota)
    shares = share_out(num_workers, cores, usable)
    assert len(shares) == num_workers
    assert all(share.num_cores >= 1 and share.gpus is None for share in shares)
    counts = [share.num_cores for share in shares]
    assert max(counts) - min(counts) <= 1
    taken = [core for share in shares for core in share.cores]
    if usable == num_cores >= num_workers:
        assert taken == cores
        assert all(len(share.cores) == share.num_cores for share in shares)
    else:  # which cores a quota is for, nobody can say
        assert taken == []


def test_each_worker_sees_its_own_gpus():
    shares = share_out(2, [0, 1, 2, 3], 4, ["3", "GPU-7", "5", "6"], gpus_each=2)
    assert [share.environment["CUDA_VISIBLE_DEVICES"] for share in shares] == ["3,GPU-7", "5,6"]
    assert "CUDA_VISIBLE_DEVICES" not in share_out(2, [], 1)[0].environment


def test_more_trials_than_gpus_are_refused():
    with pytest.raises(UserError, match=r"n_jobs=3: .* on 2 GPU each, need more than the 4 here: .*n_jobs=2, or"):
        share_out(3, [0], 1, ["0", "1", "2", "3"], gpus_each=2)
