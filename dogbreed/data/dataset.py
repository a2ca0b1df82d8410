"""Pictures as a PyTorch data set.

Shape legend: B batch, C channels (3), S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dogbreed.data.augment import AugmentSettings, Changes, View, cut_view, draw_view, view_generator
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


class Item(NamedTuple):
    """One picture as the data set yields it: ``(3, S, S)`` uint8 pixels, class index, position, what was drawn."""

    image: Tensor
    label: int
    position: int
    view: View | None = None


class ImageDataset(Dataset[Item]):
    """Decoded, cropped, not yet normalised pictures of one split.

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
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, visit: int | Visit) -> Item:
        """Load one picture.

        Args:
            visit: Its position, or with the epoch for a random view.

        Raises:
            UserError: the file is gone or broken since the scan.
        """
        index = visit if isinstance(visit, int) else visit.image
        pixels = self.pixels.read(index)
        height, width = pixels.shape[-2:]
        view = self.draw(visit, height, width)
        return Item(cut_view(pixels, view, self.preprocessing), int(self.pixels.images.labels[index]), index, view)

    def draw(self, visit: int | Visit, height_px: int, width_px: int) -> View:
        """Draw the view of a picture of this size; the whole of it where it is not to be varied."""
        if not self.augment or not isinstance(visit, Visit):
            return View.whole(height_px, width_px)
        rng = view_generator(self.seed, visit.epoch, visit.image)
        return draw_view(height_px, width_px, self.augment, self.preprocessing.input_size_px, rng)

    def changes(self, views: Sequence[View]) -> Changes | None:
        """Put together what is made of a batch after cutting; None for nothing."""
        if not self.augment or not self.augment.changes_batches:
            return None
        return Changes.of(views, self.augment, self.preprocessing.mean)

    def collate(self, items: Sequence[Item]) -> Batch:
        """Stack pictures to a batch."""
        return collate(items)._replace(changes=self.changes([item.view for item in items if item.view]))


def collate(items: Sequence[Item]) -> Batch:
    """Stack rows of pictures or features to a batch."""
    rows, labels, indices, _ = zip(*items, strict=True)
    if rows[0].dim() == 3:  # colours stay together
        stacked = torch.stack([row.permute(1, 2, 0) for row in rows]).permute(0, 3, 1, 2)
    else:
        stacked = torch.stack(rows)
    return Batch(stacked, torch.tensor(labels), torch.tensor(indices))
