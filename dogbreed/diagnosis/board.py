"""What TensorBoard shows of a look at the tensors: histograms, and what the rules say.

Shape legend: T tensors, N values of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from numpy.typing import NDArray

NUM_BINS = 64


def tensorboards(loggers: Iterable[Logger]) -> list[Any]:
    """Return the writers of the loggers that are a TensorBoard."""
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]


def add_histograms(
    writers: Iterable[Any], kind: str, names: Sequence[str], values_TN: NDArray[np.float32], step: int
) -> None:
    """Add a histogram a tensor, ``KIND/NAME``.

    Args:
        writers: TensorBoard's.
        kind: ``gradient`` or ``weight``.
        names: Of the T tensors.
        values_TN: A sample of each one's values; NaN where it has fewer.
        step: Optimiser steps done.
    """
    for name, values_N in zip(names, values_TN, strict=True):
        finite = values_N[np.isfinite(values_N)].astype(np.float64)
        if not len(finite):
            continue
        counts, edges = np.histogram(finite, bins=NUM_BINS)
        for writer in writers:
            writer.add_histogram_raw(
                f"{kind}/{name}",
                min=finite.min(),
                max=finite.max(),
                num=len(finite),
                sum=finite.sum(),
                sum_squares=np.square(finite).sum(),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=step,
            )


def add_verdicts(writers: Iterable[Any], table: Sequence[Mapping[str, Any]], step: int) -> None:
    """Add the rules and what they say as a table.

    Args:
        writers: TensorBoard's.
        table: As in ``diagnosis.json``.
        step: Optimiser steps done.
    """
    lines = ["| rule | verdict | first step | evidence | advice |", "|---|---|---|---|---|"]
    for row in table:
        cells = (row["name"], row["verdict"], row["first_step"], row["evidence"], row["advice"])
        lines.append("| " + " | ".join("" if cell is None else str(cell).replace("|", "/") for cell in cells) + " |")
    for writer in writers:
        writer.add_text("rules", "\n".join(lines), step)
