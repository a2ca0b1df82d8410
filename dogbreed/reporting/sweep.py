"""The page of a sweep."""

from __future__ import annotations

from pathlib import Path

from dogbreed.reporting.comparison import write_comparison


def write_sweep_page(folder: Path) -> Path:
    """Write ``sweep.html``."""
    return write_comparison([folder])
