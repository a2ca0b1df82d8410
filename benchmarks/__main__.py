"""``python -m benchmarks [NAME …]``: run benchmarks, print and keep their rows."""

import argparse
import importlib
import time

from benchmarks import chart
from benchmarks.record import save, table

# The quick ones first.
NAMES = (
    "startup",
    "report",
    "launch",
    "inputs",
    "growth",
    "memory",
    "arithmetic",
    "compiling",
    "packed",
    "step",
    "hook",
    "gpu",
    "serving",
    "sample",
    "sweep",
    "search",
    "head",
    "recipes",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what dogbreed claims.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}; all by default")
    chosen = parser.parse_args().names or NAMES
    if unknown := set(chosen) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))} does not exist; there are {', '.join(NAMES)}")
    for name in chosen:
        print(f"{name} …", flush=True)
        started = time.perf_counter()
        rows = importlib.import_module(f"benchmarks.{name}").run()
        if rows:
            file = save(name, rows)
            print(f"{table(rows)}\n{file}, {time.perf_counter() - started:.0f} s\n", flush=True)
    chart.main()


if __name__ == "__main__":
    main()
