"""Draw the learning curves of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dogbreed.fit.figures import ACCENT, GREY, new_figure, save_figure


def draw_curves(rows: Sequence[Mapping[str, Any]], file: Path, best_epoch: int | None = None) -> None:
    """Draw loss and accuracy of train and validation over the epochs, as a PNG.

    Args:
        rows: Rows of ``metrics.csv``.
        file: Where the picture goes.
        best_epoch: Epoch, counted from 1, whose weights were kept.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9, 3.6)
    axes = figure.subplots(1, 2)
    for axis, metric, title in zip(axes, ("loss", "acc_top1"), ("Cross entropy", "Top-1 accuracy"), strict=True):
        for split, color, label in (("train", GREY, "train"), ("val", ACCENT, "validation")):
            points = [(row["epoch"], row[f"{split}/{metric}"]) for row in rows if f"{split}/{metric}" in row]
            axis.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3, linewidth=1.8, label=label)
        if best_epoch is not None:
            axis.axvline(best_epoch, color=ACCENT, linestyle=":", linewidth=1, label=f"kept: epoch {best_epoch}")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False)
    axes[1].set_ylim(0, 1.02)
    save_figure(figure, file)
