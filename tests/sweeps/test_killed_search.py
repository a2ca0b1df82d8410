"""A real search by two workers, of which one is killed, and then all with their parent: the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
from helpers import QUICK
from optuna.trial import TrialState

from dogbreed.sweeps.opening import open_storage

N_TRIALS = 6


def wait_for(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost(tree, tmp_path):
    place = tmp_path / "runs" / "sweep"
    command = [sys.executable, "-m", "dogbreed.train", "-m", "hydra/sweeper=dogbreed", *QUICK, "data=folder"]
    command += [f"data.root={tree}", "finetune=full", "trainer.max_epochs=40", f"hydra.sweeper.n_trials={N_TRIALS}"]
    command += ["optim.lr=tag(log,interval(1e-3,1e-2))", "hydra.sweeper.n_jobs=2", "hydra.sweeper.pruner=none"]
    command += [f"hydra.sweep.dir={place}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}

    def start():
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def running():
        """Trials of which an epoch is saved: number to process."""
        found = {}
        for file in place.glob("*/run.lock"):
            if (file.parent / "checkpoints" / "last.ckpt").exists():
                found[int(file.parent.name)] = json.loads(file.read_text() or "{}").get("pid")
        return {number: pid for number, pid in found.items() if pid}

    first = start()
    wait_for(running, first)
    number, victim = next(iter(running().items()))
    os.kill(victim, signal.SIGKILL)
    # Another worker takes the trial up, in its folder.
    wait_for(lambda: running().get(number, victim) != victim or is_over(place / str(number)), first)
    wait_for(running, first)
    first.kill()
    first.wait()
    # Its workers end, too.
    deadline = time.monotonic() + 120
    while any(is_alive(pid) for pid in running().values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    second = start()
    said = second.communicate(timeout=600)[1]
    assert second.returncode == 0, said
    [name] = optuna.get_all_study_names(open_storage(f"sqlite:///{place}/study.db"))
    trials = optuna.load_study(study_name=name, storage=open_storage(f"sqlite:///{place}/study.db")).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * N_TRIALS
    sweep = json.loads((place / "sweep.json").read_text())
    assert [trial["state"] for trial in sweep["trials"]] == ["completed"] * N_TRIALS
    assert [trial["values"] for trial in sweep["trials"]] == [trial.values for trial in trials]
    # What was killed went on from its checkpoint: each epoch is there once.
    for folder in (place / str(trial.number) for trial in trials):
        epochs = [int(line.split(",")[0]) for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
        assert epochs == list(range(1, 41))


def is_over(folder):
    return json.loads((folder / "run.json").read_text())["state"] == "completed"


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
