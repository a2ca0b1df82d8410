"""Draw which classes are taken for which.

Shape legend: K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.fit.figures import new_figure, shorten_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES_WITH_COUNTS = 20
MAX_CLASSES_WITH_NAMES = 45
NUM_PAIRS = 12
LIST_WIDTH_IN = 2.6
NAME_LETTERS = 24


def draw_confusion(confusion_KK: Tensor, class_names: tuple[str, ...], split: str) -> Figure:
    """Draw a heat map: what is right on the diagonal in grey, mistakes in colour.

    Shades are shares of the true class's pictures. Up to 20 classes the counts are
    written into the cells, up to 45 the names beside them; with more classes the pairs
    that are confused most are listed instead.

    Args:
        confusion_KK: Counts; rows true classes, columns predicted ones.
        class_names: Names in index order.
        split: What was measured, for the title.
    """
    counts = confusion_KK.numpy()
    num_classes = len(class_names)
    has_names = num_classes <= MAX_CLASSES_WITH_NAMES
    side_in = float(np.clip(0.32 * num_classes + 1.6, 4.0, 8.5))
    figure = new_figure(side_in + (1.2 if has_names else LIST_WIDTH_IN), side_in)
    axis = figure.subplots()
    _draw_cells(axis, counts)
    if num_classes <= MAX_CLASSES_WITH_COUNTS:
        _write_counts(axis, counts)
    if has_names:
        names = [shorten_name(name, NAME_LETTERS) for name in class_names]
        size = 8 if num_classes <= MAX_CLASSES_WITH_COUNTS else 6
        axis.set_xticks(range(num_classes), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
        axis.set_yticks(range(num_classes), names, fontsize=size)
    else:
        _list_pairs(axis, counts, class_names)
    right = counts.trace() / max(counts.sum(), 1)
    axis.set_title(f"{split}: {counts.sum()} pictures, {right:.1%} right", fontsize=10)
    axis.set(xlabel="predicted", ylabel="true")
    axis.tick_params(length=0)
    axis.spines[:].set_color("#d5dae0")
    return figure


def _draw_cells(axis: Axes, counts: NDArray[np.int64]) -> None:
    share = _share(counts)
    is_right = np.eye(len(counts), dtype=bool)
    wrong: NDArray[Any] = np.ma.masked_where(is_right | (counts == 0), share)
    right: NDArray[Any] = np.ma.masked_where(~is_right | (counts == 0), share)
    # Colours that begin above white: one picture of many must be seen.
    axis.imshow(right, cmap="Greys", vmin=-0.3, vmax=2.6, interpolation="nearest")
    axis.imshow(
        wrong, cmap="Oranges", vmin=-0.25, vmax=max(0.5, float(share[~is_right].max())), interpolation="nearest"
    )


def _write_counts(axis: Axes, counts: NDArray[np.int64]) -> None:
    share = _share(counts)
    for true, predicted in zip(*counts.nonzero(), strict=True):
        is_dark = true != predicted and share[true, predicted] > 0.4
        color = "white" if is_dark else "#1f2933"
        axis.text(predicted, true, str(counts[true, predicted]), ha="center", va="center", fontsize=7, color=color)


def _list_pairs(axis: Axes, counts: NDArray[np.int64], class_names: tuple[str, ...]) -> None:
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:NUM_PAIRS]
    pairs = [(mistakes[cell], *cell) for cell in (np.unravel_index(flat, counts.shape) for flat in order)]
    names = [shorten_name(name, NAME_LETTERS) for name in class_names]
    lines = [f"{count} ×  {names[true]}\n       as {names[predicted]}" for count, true, predicted in pairs if count]
    text = "Confused most\n\n" + "\n".join(lines) if lines else "No mistakes"
    axis.text(1.03, 1, text, transform=axis.transAxes, va="top", fontsize=8, linespacing=1.5)


def _share(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return share
