"""How soon a command answers that has nothing to compute, and what an import costs."""

import subprocess
import sys
import time

from benchmarks.commands import TOP
from benchmarks.record import Row, median

REPEATS = 9
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
    return [*rows, Row("startup", case, median(added), "limit", IMPORT_LIMIT_MS, "ms", 1.0, "max")]
