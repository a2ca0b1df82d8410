"""Pictures as a PyTorch data set.

Shape legend: B batch, C channels (3), S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dogbreed.data.augment import AugmentSettings, random_view, view_generator
from dogbreed.data.mix import draw_mix, mix_batch
from dogbreed.data.pixels import Pixels
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.sampler import Visit


class Batch(NamedTuple):
    """What a loader yields and a training step takes.

    Args:
        images: ``(B, 3, S, S)`` uint8 pixels.
        labels: ``(B,)`` int64 class indices.
        indices: ``(B,)`` int64 positions in the split, to find the file again.
        mix_draws: ``(B, 5)`` of `dogbreed.data.mix.draw_mix` before the pictures are mixed.
        partners: ``(B,)`` int64 class indices of what is mixed into each picture.
        shares: ``(B,)`` float32 shares of each picture itself in its mixture.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    mix_draws: Tensor | None = None
    partners: Tensor | None = None
    shares: Tensor | None = None

    def mixed(self) -> Batch:
        """Return the batch as it is to be learnt from, with its pictures mixed if they are to be."""
        if self.mix_draws is None:
            return self
        images, shares = mix_batch(self.images, self.mix_draws)
        return Batch(images, self.labels, self.indices, None, self.labels.roll(1), shares)


class Item(NamedTuple):
    """One picture as the data set yields it: ``(3, S, S)`` uint8 pixels, class index, position, draw for mixing."""

    image: Tensor
    label: int
    position: int
    mix_draw: Tensor | None = None


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
        view = random_view(pixels, self.augment, self.preprocessing, rng)
        return Item(view, label, index, draw_mix(self.augment.mix, rng) if self.augment.mix.mixes else None)


def collate(items: Sequence[Item]) -> Batch:
    """Stack pictures to a batch."""
    views, labels, indices, draws = zip(*items, strict=True)
    mix_draws = None if draws[0] is None else torch.stack(draws)
    return Batch(torch.stack(views), torch.tensor(labels), torch.tensor(indices), mix_draws)
