"""A worker of a search whose trials cost nothing: ``python study_worker.py STORAGE STUDY N_TRIALS LOG``.

It takes trials as `dogbreed.sweeps.search` does, and notes in LOG what it begins and what it ends.
"""

import os
import random
import sys
import time

import optuna

from dogbreed.sweeps.heartbeat import Heartbeat, fail_stale, this_worker
from dogbreed.sweeps.opening import open_storage
from dogbreed.sweeps.space import parse_space
from dogbreed.sweeps.study import claim, progress, settle

# A starved machine must not look like a dead one; processes that are gone are noticed at once.
HEARTBEAT_S = 4.0
SPACE = {"x": "interval(-1.0, 1.0)", "kind": "choice(a, b)", "n": "int(interval(1, 1000))"}


def value_of(params):
    return params["x"] ** 2 + params["n"] + (params["kind"] == "a")


def main(url, name, n_trials, log):
    study = optuna.load_study(study_name=name, storage=open_storage(url), sampler=optuna.samplers.RandomSampler())
    space, me = parse_space(SPACE), this_worker()

    def note(*words):
        with open(log, "a") as file:  # a line at once is one piece, whoever else writes
            file.write(" ".join(map(str, (os.getpid(), *words))) + "\n")

    with Heartbeat(study, HEARTBEAT_S) as heart:
        note("up")
        while True:
            fail_stale(study, HEARTBEAT_S)
            trial = claim(study, n_trials, space, me)
            if trial is None:
                if not progress(study).running:
                    break
                time.sleep(0.05)
                continue
            note("begins", trial.number)
            heart.add(trial.number)
            time.sleep(random.uniform(0.01, 0.1))
            heart.remove(trial.number)
            settle(study, trial, "completed", [value_of(trial.params)])
            note("ends", trial.number)
    note("leaves")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
