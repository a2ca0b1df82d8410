"""What all drawn figures share: colours, a sheet of pictures with captions, PNG files and pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dogbreed.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, ACCENT = "#9aa5b1", "#c2410c"
DPI = 140
SHEET_COLUMNS = 6
CAPTION_LETTERS = 26
CAPTIONS_IN = 0.25


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that needs no display and leaves a notebook's own figures alone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def save_figure(figure: Figure, file: Path) -> None:
    """Write a PNG, whole or not at all."""
    _take_names_as_they_are(figure)
    with replacing(file) as unfinished, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box
        figure.savefig(unfinished, format="png", dpi=DPI)


def figure_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return ``(H, W, 3)`` uint8 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _take_names_as_they_are(figure)
    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas.draw()
    pixels: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return pixels


def draw_sheet(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[tuple[str, str]], title: str = "") -> Figure:
    """Lay pictures out in rows, each with two lines below it.

    Args:
        pictures: ``(H, W, 3)`` pixels each, at least one, of any size.
        captions: Two short lines a picture; the second is set off in grey.
        title: Above all.
    """
    num_columns = min(SHEET_COLUMNS, len(pictures))
    num_rows = -(-len(pictures) // num_columns)
    height_in = 2.1 * num_rows + 0.4 * bool(title) + CAPTIONS_IN
    figure = new_figure(1.75 * max(num_columns, 3), height_in)
    # The layout counts no text of its own below the last row.
    figure.set_layout_engine("constrained", rect=(0, CAPTIONS_IN / height_in, 1, 1 - CAPTIONS_IN / height_in))
    axes = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axis in axes:
        axis.axis("off")
    for axis, pixels, (first, second) in zip(axes, pictures, captions, strict=False):
        axis.imshow(pixels)
        options = {"transform": axis.transAxes, "ha": "center", "va": "top", "fontsize": 7}
        axis.text(0.5, -0.03, shorten_name(first), **options)
        axis.text(0.5, -0.13, shorten_name(second), color="#64707d", **options)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def shorten_name(name: str, limit: int = CAPTION_LETTERS) -> str:
    """Cut a long name at its end; what cannot be written as text becomes a question mark.

    Example:
        >>> shorten_name("006.American_eskimo_dog", 12)
        '006.America…'
    """
    name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _take_names_as_they_are(figure: Figure) -> None:
    """Keep matplotlib from reading ``$`` in names as mathematics."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
