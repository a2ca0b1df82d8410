"""What the smdebug hook adds to a step: not there, there but never saving, saving now and then.

The steps of all three alternate inside one process, a network each, so that a busy machine slows all. It needs
smdebug, and runs in the side environment of the tests.

python -m benchmarks hook
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.commands import TOP
from benchmarks.record import Row

BATCH, SIZE_PX, NUM_CLASSES, WARM_UP = 32, 224, 20, 4
EVERY, ROUNDS = 50, 1
NEVER = 10**9


def run() -> list[Row]:
    """Measure ResNet18 at the size of photographs with what ``diagnose/hook=smdebug`` saves by default."""
    sys.path.insert(0, str(TOP / "tests"))
    from side_environment import OLD_PROTOBUF, side_python

    steps = EVERY * ROUNDS
    command = [
        str(side_python(OLD_PROTOBUF)),
        "-m",
        "benchmarks.hook",
        str(BATCH),
        str(SIZE_PX),
        str(EVERY),
        str(steps),
    ]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for name, mean in (("idle", False), (f"every {EVERY} steps", True)):
        case = f"ResNet18, batch {BATCH}, {SIZE_PX} px, training step with the smdebug hook, {name}"
        case += f", mean of {steps} steps" if mean else f", median of {steps} pairs"
        # What is saved seldom is in the sum only.
        values = [sum(found[key]) / steps if mean else statistics.median(found[key]) for key in ("off", name)]
        ratio = values[1] / values[0] if mean else _paired(found["off"], found[name])
        rows.append(Row("hook", case, 1000 * values[0] * ratio, "without it", 1000 * values[0], "ms"))
    return rows


def _paired(off: list[float], on: list[float]) -> float:
    return statistics.median(ours / bare for bare, ours in zip(off, on, strict=True))


class Trained:
    """A network that trains step by step on one batch, with the hook or without."""

    def __init__(self, interval: int | None, folder: Path, batch: int, size_px: int) -> None:
        from dogbreed import ImageClassifier, compose
        from dogbreed.diagnosis import import_smdebug
        from dogbreed.diagnosis.hook_config import job_config
        from dogbreed.diagnosis.recorder import Recorder

        torch.manual_seed(0)
        names = [f"class {k}" for k in range(NUM_CLASSES)]
        self.net = ImageClassifier("resnet18.tv_in1k", names, pretrained=False, input_size_px=size_px).net.train()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)
        self.images = torch.randn(batch, 3, size_px, size_px).to(memory_format=torch.channels_last)
        self.labels = torch.arange(batch) % NUM_CLASSES
        self.recorder, self.num_steps = None, 0
        self.seconds: list[float] = []
        if interval:
            preset = compose(["diagnose/hook=smdebug"]).diagnose.hook
            settings = {"save_interval": interval, "reductions": list(preset.reductions)}
            config = job_config(
                settings | {"save_all": False, "export_tensorboard": False},
                {"losses": {}, "gradients": {}, "weights": {}, "biases": {}},
            )
            self.recorder = Recorder({**config, "LocalPath": str(folder)}, "the benchmark")
            import_smdebug().del_hook()  # the other one comes beside it

    def step(self) -> None:
        started = time.perf_counter()
        if self.recorder:
            self.recorder.begin(self.net, "TRAIN", self.num_steps, self.num_steps)
        loss = torch.nn.functional.cross_entropy(self.net(self.images), self.labels)
        if self.recorder:
            self.recorder.stop_listening()
        self.optimizer.zero_grad()
        loss.backward()
        if self.recorder:
            self.recorder.see_gradients()
        self.optimizer.step()
        if self.recorder:
            self.recorder.see_loss(loss)
            self.recorder.end()
        self.num_steps += 1
        self.seconds.append(time.perf_counter() - started)


def main(batch: int, size_px: int, every: int, steps: int) -> None:
    """Print the seconds of each step, as one line of JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        # Step 0, which both save, is among those that warm up.
        kinds = {"off": None, "idle": NEVER, f"every {every} steps": every}
        trained = {
            name: Trained(interval, Path(scratch, name.replace(" ", "_")), batch, size_px)
            for name, interval in kinds.items()
        }
        order = list(trained.values())
        for number in range(WARM_UP + steps):
            for one in order[number % 3 :] + order[: number % 3]:
                one.step()
        found = {name: one.seconds[WARM_UP:] for name, one in trained.items()}
        for one in order:
            if one.recorder:
                one.recorder.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
