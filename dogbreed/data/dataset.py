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
from dogbreed.data.decode import BadImageError, decode_image
from dogbreed.data.index import ImageList
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.sampler import Visit
from dogbreed.errors import UserError


class Batch(NamedTuple):
    """What a loader yields and a training step takes.

    Args:
        images: ``(B, 3, S, S)`` uint8 pixels.
        labels: ``(B,)`` int64 class indices.
        indices: ``(B,)`` int64 positions in the split, to find the file again.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class ImageDataset(Dataset[tuple[Tensor, int, int]]):
    """Decoded, cropped, not yet normalised pictures of one split.

    Args:
        images: The split.
        preprocessing: How a picture becomes network input.
        augment: Random views for a `Visit`; without it every view is the centre crop.
        seed: Key of the random views.
    """

    def __init__(
        self, images: ImageList, preprocessing: Preprocessing, augment: AugmentSettings | None = None, seed: int = 0
    ) -> None:
        self.images = images
        self.preprocessing = preprocessing
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, visit: int | Visit) -> tuple[Tensor, int, int]:
        """Load one picture.

        Args:
            visit: Its position, or with the epoch for a random view.

        Returns:
            ``(3, S, S)`` uint8 pixels, class index, position.

        Raises:
            UserError: the file is gone or broken since the scan.
        """
        index = visit if isinstance(visit, int) else visit.image
        path = self.images.path(index)
        try:
            pixels = decode_image(path)
        except BadImageError as error:
            msg = f"{path}: {error}: restore or remove it and start again."
            raise UserError(msg) from error
        if self.augment and isinstance(visit, Visit):
            rng = view_generator(self.seed, visit.epoch, index)
            view = random_view(pixels, self.augment, self.preprocessing, rng)
        else:
            view = self.preprocessing.center_crop(pixels)
        return view, int(self.images.labels[index]), index


def collate(items: Sequence[tuple[Tensor, int, int]]) -> Batch:
    """Stack pictures to a batch."""
    views, labels, indices = zip(*items, strict=True)
    return Batch(torch.stack(views), torch.tensor(labels), torch.tensor(indices))
