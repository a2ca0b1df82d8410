"""The run's page, written when the run is over, however it ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dogbreed.errors import sentence_of

log = logging.getLogger(__name__)


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
            _write(run_dir)


def _write(run_dir: Path) -> None:
    try:
        from dogbreed.reporting import write_report

        write_report(run_dir)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the run is over and what it has found is kept
        log.warning("report  %s/report.html was not written (%s: %s); python -m dogbreed.report %s tries again.",
                    run_dir, type(error).__name__, sentence_of(error).rstrip("."), run_dir)  # fmt: skip
