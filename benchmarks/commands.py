"""Our own command, run as a user runs it, and the photographs that it is run on."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# Photographs and weights are no part of the project: DOGBREED_SHARED names the folder that holds data/ and weights/.
SHARED = Path(os.environ.get("DOGBREED_SHARED", TOP.parent / "shared"))
WEIGHTS = SHARED / "weights" / "mobilenetv2_100.tf2_ptq_dequant.safetensors"
PHOTOS = {name: SHARED / "data" / name for name in ("dogs-small", "clothing")}


@dataclass(frozen=True)
class Timed:
    """What a command took, and the metrics that it wrote."""

    seconds: float
    metrics: dict[str, float]


def train(*overrides: str, run_dir: Path) -> Timed:
    """Run ``python -m dogbreed.train`` in a process of its own; wall time with everything, imports too."""
    command = [sys.executable, "-m", "dogbreed.train", *overrides, f"hydra.run.dir='{run_dir}'"]
    seconds = run(command)
    return Timed(seconds, json.loads((run_dir / "metrics.json").read_text()))


def run(command: list[str]) -> float:
    """Run a command quietly; seconds of wall time.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    started = time.perf_counter()
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        msg = f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    return seconds


def notebook_loop(folder: Path, epochs: int, seed: int, loader: str = "torchvision") -> Timed:
    """Run the peer of `benchmarks.notebook_loop` in a process of its own; wall time with everything."""
    arguments = [str(folder), str(WEIGHTS), str(epochs), str(seed), loader]
    command = [sys.executable, "-m", "benchmarks.notebook_loop", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return Timed(time.perf_counter() - started, json.loads(done.stdout.splitlines()[-1]))
