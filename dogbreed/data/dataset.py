"""Pictures as a PyTorch data set.

Shape legend: B batch, C channels (3), S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dogbreed.data.augment import AugmentSettings, Changes, View, ViewGenerators, cut_view, draw_view
from dogbreed.data.pixels import Pixels
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.sampler import Visit


class BatchSource(Protocol):
    """Holds the pictures of a batch."""

    def images(self, indices_B: Tensor) -> Tensor:
        """Return them, uint8 ``(B, 3, S, S)``, by their positions in the split."""


class Batch(NamedTuple):
    """What a loader yields and a training step takes.

    Args:
        images: ``(B, 3, S, S)`` uint8 pixels.
        labels: ``(B,)`` int64 class indices.
        indices: ``(B,)`` int64 positions in the split, to find the file again.
        changes: What is still to be made of the pictures, on their device; None for nothing.
        source: Where the pictures are that are still to be cut; None if ``images`` holds them.
        partners: ``(B,)`` int64 class indices of what is mixed into each picture.
        shares: ``(B,)`` float32 shares of each picture itself in its mixture.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    changes: Changes | None = None
    source: BatchSource | None = None
    partners: Tensor | None = None
    shares: Tensor | None = None

    def changed(self) -> Batch:
        """Return the batch as it is to be learnt from."""
        images = self.images if self.source is None else self.source.images(self.indices)
        if self.changes is None:
            return self._replace(images=images, source=None)
        images, shares = self.changes.apply(images)
        partners = None if shares is None else self.labels.roll(1)
        return Batch(images, self.labels, self.indices, partners=partners, shares=shares)


class BatchDataset(Dataset[Batch]):
    """A data set that loads whole batches, by ``__getitems__``; a batch is then cut in one piece of memory."""

    def __len__(self) -> int:
        """Return how many pictures there are."""
        raise NotImplementedError

    def __getitem__(self, visit: int | Visit) -> Batch:
        """Load one picture, a batch of one."""
        return self.__getitems__([visit])

    def __getitems__(self, visits: Sequence[int | Visit]) -> Batch:
        """Load pictures.

        Args:
            visits: Their positions, or with the epoch for random views.
        """
        raise NotImplementedError


class ImageDataset(BatchDataset):
    """Decoded, cropped, not yet normalised pictures of one split; a loader gets whole batches of it.

    Args:
        pixels: The split's pictures: as evaluation sees them, or whole where random crops are cut from them.
        preprocessing: How a picture becomes network input.
        augment: Random views for a `Visit`.
        seed: Key of the random views.
    """

    def __init__(
        self, pixels: Pixels, preprocessing: Preprocessing, augment: AugmentSettings | None = None, seed: int = 0
    ) -> None:
        self.pixels = pixels
        self.preprocessing = preprocessing
        self.augment = augment
        self._generators = ViewGenerators(seed)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitems__(self, visits: Sequence[int | Visit]) -> Batch:
        """Load pictures.

        Raises:
            UserError: a file is gone or broken since the scan.
        """
        side = self.preprocessing.input_size_px
        # Each picture is cut into its place: to stack them would be another pass over all. Colours lie together.
        images_BCSS = torch.empty((len(visits), side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        positions = [position_of(visit) for visit in visits]
        views = []
        for place, (visit, position) in enumerate(zip(visits, positions, strict=True)):
            pixels = self.pixels.read(position)
            view = self.draw(visit, *pixels.shape[-2:])
            cut_view(pixels, view, self.preprocessing, out=images_BCSS[place])
            views.append(view)
        return Batch(images_BCSS, self.labels(positions), torch.tensor(positions), self.changes(views))

    def labels(self, positions: Sequence[int]) -> Tensor:
        """Return the class indices of some pictures, ``(B,)`` int64."""
        return torch.from_numpy(self.pixels.images.labels[np.asarray(positions)].astype(np.int64))

    def draw(self, visit: int | Visit, height_px: int, width_px: int) -> View:
        """Draw the view of a picture of this size; the whole of it where it is not to be varied."""
        if not self.augment or not isinstance(visit, Visit):
            return View.whole(height_px, width_px)
        rng = self._generators.at(visit.epoch, visit.image)
        return draw_view(height_px, width_px, self.augment, self.preprocessing.input_size_px, rng)

    def changes(self, views: Sequence[View]) -> Changes | None:
        """Put together what is made of a batch after cutting; None for nothing."""
        if not self.augment or not self.augment.changes_batches:
            return None
        return Changes.of(views, self.augment, self.preprocessing.mean)


def position_of(visit: int | Visit) -> int:
    """Return which picture of a split is visited."""
    return visit if isinstance(visit, int) else visit.image


def as_it_is(batch: Batch) -> Batch:
    """Take a batch for what it is, where a loader would put one together of pictures."""
    return batch
