"""The run's page, written when the run is over, however it ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dogbreed.run_files import SPLITS_CSV

log = logging.getLogger(__name__)


@contextmanager
def writing_page(run_dir: Path, *, is_wanted: bool) -> Iterator[None]:
    """Write ``report.html`` after the block, which has left in ``run.json`` how it ended.

    A run that was refused before it had its data has no page: its sentence says all that there is to say. A page that
    cannot be written costs one warning, never the run.

    Args:
        run_dir: The run folder.
        is_wanted: False writes nothing.
    """
    try:
        yield
    finally:
        if is_wanted and (run_dir / SPLITS_CSV).is_file():
            from dogbreed.reporting import write_aside, write_report

            page = write_aside(write_report, run_dir)
            if page:
                log.info("report  %s", page)
