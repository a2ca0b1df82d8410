"""A look at a data set before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dogbreed.data.sampler import Visit
from dogbreed.datamodule import ImageDataModule
from dogbreed.fit.figures import draw_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_pictures(
    data: ImageDataModule, split: str = "train", num_pictures: int = 12, *, augmented: bool = False
) -> Figure:
    """Draw some pictures of a split with their classes, from each class in turn.

    Args:
        data: Set up, as by `dogbreed.prepare`.
        split: ``train``, ``valid`` or ``test``.
        num_pictures: The most pictures.
        augmented: Draw what training makes of them in its first epoch, instead of what evaluation sees.

    Returns:
        The figure, which a notebook shows.

    Raises:
        UserError: there is no such split, or a file is no picture any more.
    """
    labels = data.index.split(split).labels
    # The first picture of each class, then the second of each, and so on.
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turns = np.arange(len(labels)) - starts
    chosen = [int(position) for position in by_class[np.argsort(turns, kind="stable")][:num_pictures]]
    dataset = data.dataset(split, augmented=augmented, positions=chosen)
    batch = dataset.__getitems__([Visit(0, position) if augmented else position for position in chosen]).changed()
    pictures = [image.permute(1, 2, 0).numpy() for image in batch.images]
    captions = [(data.class_names[labels[position]], "") for position in chosen]
    return draw_sheet(pictures, captions, f"{split}, as {'training sees them' if augmented else 'they are evaluated'}")
