"""The run's page, written when the run is over, however it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing_page(run_dir: Path, *, is_wanted: bool) -> Iterator[None]:
    """Write ``report.html`` after the block, which has left in ``run.json`` how it ended.

    A page that cannot be written costs one warning, never the run.

    Args:
        run_dir: The run folder.
        is_wanted: False writes nothing.
    """
    try:
        yield
    finally:
        if is_wanted:
            from dogbreed.reporting import write_aside, write_report

            write_aside(write_report, run_dir)
