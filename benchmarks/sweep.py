"""Twenty trials of a head in one sweep, which share what the frozen backbone computes, beside twenty single runs."""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, WEIGHTS, train
from benchmarks.commands import run as run_command
from benchmarks.head import head_of
from benchmarks.record import Row, mean

RATES = [f"{rate}e-4" for rate in range(2, 42, 2)]
NUM_SINGLE = 2
TARGET = 0.1
_SWEEPER = ["hydra/sweeper=dogbreed", "hydra.sweeper.engine=grid", "hydra.sweeper.n_trials=null"]
WAYS = {"one after another": [], "two at a time": [*_SWEEPER, "hydra.sweeper.pruner=none", "hydra.sweeper.n_jobs=2"]}


def run() -> list[Row]:
    """Time the sweep whole, both ways; of the single runs, each with a cache of its own, some that stand for all."""
    if not WEIGHTS.is_file():
        print(f"  skipped: {WEIGHTS} is not here (DOGBREED_SHARED names the folder that holds data/ and weights/)")
        return []
    root = PHOTOS["dogs-small"]
    singles = []
    for seed in range(NUM_SINGLE):
        with tempfile.TemporaryDirectory() as scratch:
            overrides = head_of(root, Path(scratch, "cache"))
            singles.append(train(*overrides, f"seed={seed}", run_dir=Path(scratch, "run")).seconds)
        print(f"  a single run: {singles[-1]:.0f} s", flush=True)
    case = f"dogs-small, finetune=head, 10 epochs, {len(RATES)} learning rates"
    peer = f"{len(RATES)} single runs, from {NUM_SINGLE} of them"
    single = len(RATES) * mean(singles)
    return [
        Row("sweep", f"{case}, {how}", _sweep(root, more), peer, single, "s", TARGET, "max")
        for how, more in WAYS.items()
    ]


def _sweep(root: Path, more: list[str]) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        sweep = Path(scratch, "sweep")
        rates = f"optim.lr={','.join(RATES)}"
        command = [sys.executable, "-m", "dogbreed.train", "-m", *head_of(root, Path(scratch, "cache")), rates, *more]
        seconds = run_command([*command, f"hydra.sweep.dir='{sweep}'"])
        trials = json.loads((sweep / "sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["completed"] * len(RATES)
    return seconds
