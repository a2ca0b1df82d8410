"""A dry run: what would be sent is printed, and nothing is left behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from launch.plan import Plan
from launch.preview import preview


def show(make: Callable[[], Plan], run_dir: Path) -> None:
    """Print what would be sent; folders that Hydra has made for a run go, if they hold nothing else.

    Args:
        make: Plans it.
        run_dir: Its run folder.

    Raises:
        UserError: it cannot be planned.
    """
    try:
        sys.stdout.write(preview(make()) + "\n")
    finally:
        if [path.name for path in run_dir.iterdir()] == [".hydra"]:
            shutil.rmtree(run_dir)
            with suppress(OSError):  # others' runs are there
                run_dir.parent.rmdir()
