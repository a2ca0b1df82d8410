"""Pictures as a PyTorch data set.

Shape legend: B batch, C channels (3), S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dogbreed.data.augment import AugmentSettings, Changes, View, cut_view, draw_view, view_generator
from dogbreed.data.pixels import Pixels
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.sampler import Visit


class Batch(NamedTuple):
    """What a loader yields and a training step takes.

    Args:
        images: ``(B, 3, S, S)`` uint8 pixels.
        labels: ``(B,)`` int64 class indices.
        indices: ``(B,)`` int64 positions in the split, to find the file again.
        changes: What is still to be made of the pictures, on their device; None for nothing.
        partners: ``(B,)`` int64 class indices of what is mixed into each picture.
        shares: ``(B,)`` float32 shares of each picture itself in its mixture.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    changes: Changes | None = None
    partners: Tensor | None = None
    shares: Tensor | None = None

    def changed(self) -> Batch:
        """Return the batch as it is to be learnt from."""
        if self.changes is None:
            return self
        images, shares = self.changes.apply(self.images)
        partners = None if shares is None else self.labels.roll(1)
        return Batch(images, self.labels, self.indices, None, partners, shares)


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
        label = int(self.pixels.images.labels[index])
        if not self.augment or not isinstance(visit, Visit):
            return Item(pixels, label, index)
        rng = view_generator(self.seed, visit.epoch, index)
        height, width = pixels.shape[-2:]
        view = draw_view(height, width, self.augment, self.preprocessing.input_size_px, rng)
        return Item(cut_view(pixels, view, self.preprocessing), label, index, view)

    def collate(self, items: Sequence[Item]) -> Batch:
        """Stack pictures to a batch."""
        changes = None
        if self.augment and self.augment.changes_batches:
            views = [item.view for item in items if item.view]
            changes = Changes.of(views, self.augment, self.preprocessing.mean)
        return collate(items)._replace(changes=changes)


def collate(items: Sequence[Item]) -> Batch:
    """Stack rows of pictures or features to a batch."""
    rows, labels, indices, _ = zip(*items, strict=True)
    return Batch(torch.stack(rows), torch.tensor(labels), torch.tensor(indices))
