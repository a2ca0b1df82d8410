"""How soon a command answers that has nothing to compute, what an import costs, and how soon training begins."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.commands import TOP
from benchmarks.record import Row, median

REPEATS = 9
STEP_REPEATS = 5
SLOWER_START = 1.3
LIMIT_S = 1.5
IMPORT_LIMIT_MS = 50


def run() -> list[Row]:
    """Time each command and the bare interpreter in turn."""
    commands = {
        "--help": ["-m", "dogbreed.train", "--help"],
        "a misspelt override": ["-m", "dogbreed.train", "modle=resnet50"],
        "a misspelt option": ["-m", "dogbreed.train", "model=resnet5"],
        "import": ["-c", "import dogbreed"],
        "nothing": ["-c", "pass"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, check=False)
            seconds[name].append(time.perf_counter() - started)
    rows = [
        Row("startup", f"python -m dogbreed.train {name}", median(seconds[name]), "limit", LIMIT_S, "s", 1.0, "max")
        for name in ("--help", "a misspelt override", "a misspelt option")
    ]
    added = [1000 * (with_it - without) for with_it, without in zip(seconds["import"], seconds["nothing"], strict=True)]
    case = "import dogbreed, beyond the interpreter's own start"
    return [*rows, Row("startup", case, median(added), "limit", IMPORT_LIMIT_MS, "ms", 1.0, "max"), _first_step()]


# Both end with the optimiser's first step.
STOP = """
import os
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(0))
"""
# The command itself; it imports torch when it comes to that, and not for the sake of being stopped.
OURS = f"""
import sys
from dogbreed import train as command
from dogbreed.imports import importing
train = command.train
def train_and_stop(cfg):
    with importing():
        import dogbreed.fit.run
    exec({STOP!r}, {{}})
    return train(cfg)
command.train = train_and_stop
sys.argv[0] = "train"
command.main()
"""
BARE = (
    STOP
    + """
import lightning, timm, torch
net = timm.create_model("resnet18", num_classes=12)
optimizer = torch.optim.AdamW(net.parameters(), fused=True)
loss = torch.nn.functional.cross_entropy(net(torch.randn(32, 3, 64, 64)), torch.arange(32) % 12)
loss.backward()
optimizer.step()
"""
)


def _first_step() -> Row:
    """From the command to the first step on the built-in pictures, which are decoded already; both in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        for number in range(STEP_REPEATS + 1):
            words = [f"hydra.run.dir='{Path(scratch, str(number))}'", "logger=none"]
            for name, arguments in {"ours": ["-c", OURS, *words], "bare": ["-c", BARE]}.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, check=True)
                seconds[name].append(time.perf_counter() - started)
    pairs = list(zip(seconds["ours"], seconds["bare"], strict=True))[1:]  # the first one draws and decodes
    bare = median([pair[1] for pair in pairs])
    ours = bare * median([ours / bare for ours, bare in pairs])
    case = f"command to first step, built-in pictures, median of {STEP_REPEATS} pairs"
    return Row("startup", case, ours, "script: torch, timm, lightning, a step", bare, "s", SLOWER_START, "max")
