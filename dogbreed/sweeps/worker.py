"""One worker of a search, ``python -m dogbreed.sweeps.worker``: started by `dogbreed.sweeps.workers` and nobody else.

It settles in on its share of the machine, and runs the command that it was given as Python would.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

from dogbreed.processes import die_with


def main() -> None:
    """Run ``PARENT CORES KIND COMMAND ARGUMENT …``.

    PARENT is a process number; CORES are numbers with commas, or ``-`` for all; KIND is ``module`` or ``file``.
    """
    parent, cores, kind, command, *arguments = sys.argv[1:]
    # As a cluster would: what runs saves, and gives its trial back.
    die_with(int(parent), signal.SIGTERM)
    if cores != "-" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    sys.argv = [command, *arguments]
    if kind == "module":
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command, run_name="__main__")


if __name__ == "__main__":
    main()
