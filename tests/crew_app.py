"""A command whose trials are folders: it starts workers of itself, as a search does.

``python crew_app.py KIND hydra.sweep.dir=DIR NUM_TRIALS=N``; KIND says how the workers behave.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

from dogbreed.command import SEARCH_WORKER
from dogbreed.errors import UserError
from dogbreed.files import write_json
from dogbreed.machine import num_cpus
from dogbreed.sweeps.workers import run_workers


def main():
    kind, *overrides = sys.argv[1:]
    given = dict(one.split("=", 1) for one in overrides)
    folder = Path(given["hydra.sweep.dir"].strip("'"))
    if SEARCH_WORKER in os.environ:
        work(kind, folder, int(given["NUM_TRIALS"]), overrides)
        return
    changes = folder.with_suffix(".changes")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, "trainer": {"accelerator": "cpu"}})
    try:
        run_workers(config, 2, lambda: changes.open("a").write("x"))
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def work(kind, folder, num_trials, overrides):
    about = {"pid": os.getpid(), "overrides": overrides, "num_cpus": num_cpus(), "cores": len(os.sched_getaffinity(0))}
    print("worker", json.dumps(about), flush=True)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "complains" and os.environ[SEARCH_WORKER] == "1":
        print("Error: There is no such thing.", flush=True)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: save(folder))
    while True:
        number = next((n for n in range(num_trials) if take(folder / str(n))), None)
        if number is None:
            return
        write_json(folder / str(number) / "run.json", {"state": "running", **about})
        time.sleep(60 if kind == "long" else 0.1)
        write_json(folder / str(number) / "run.json", {"state": "completed", **about})


def take(place):
    try:
        place.mkdir()
    except FileExistsError:
        return False
    return True


def save(folder):
    (folder / f"saved-{os.environ[SEARCH_WORKER]}").touch()
    sys.exit(130)


if __name__ == "__main__":
    main()
