"""How the pictures of a split become a data set: from their files, from the cache, or from the device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from dogbreed.data.augment import AugmentSettings
from dogbreed.data.cache import CacheSettings, Progress, cached_pixels
from dogbreed.data.dataset import BatchDataset, ImageDataset
from dogbreed.data.index import ImageList
from dogbreed.data.pixels import CenterCrop, Pixels, StoredPixels, WorkingCopy
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.resident import ResidentDataset, ResidentPixels, num_bytes
from dogbreed.data.shards import PackedList
from dogbreed.errors import UserError

# Of the device's free memory, which the network, its gradients and activations have not claimed yet.
SHARE_OF_FREE = 0.4


class PixelSupply:
    """Where decoded pictures are kept.

    Args:
        cache: ``auto`` in the user's cache folder, ``none``, or a folder.
        cache_max_gb: The most that the cache may hold, of all data sets together, in GB; None for half of
            what the disk has left.
        residency: ``device``: cached pictures are copied into the memory of ``device``, which cuts them
            itself; ``host``: they stay in the host's; ``auto``: where they fit.

    Raises:
        UserError: a value is unknown or out of range.
    """

    def __init__(self, cache: str | Path = "auto", cache_max_gb: float | None = None, residency: str = "auto") -> None:
        if cache_max_gb is not None and not cache_max_gb > 0:
            msg = f"data.cache_max_gb={cache_max_gb} must be above 0; data.cache=none keeps nothing."
            raise UserError(msg)
        if residency not in ("auto", "device", "host"):
            msg = f"data.residency={residency} is unknown; use auto, device or host."
            raise UserError(msg)
        max_bytes = None if cache_max_gb is None else round(1e9 * cache_max_gb)
        self.cache: CacheSettings | None = None
        if cache == "auto":
            self.cache = CacheSettings(max_bytes=max_bytes)
        elif cache != "none":
            self.cache = CacheSettings(Path(cache).expanduser(), max_bytes)
        self.residency = residency
        # Where batches are trained on, if whoever trains says so.
        self.device: torch.device | None = None

    def dataset(
        self,
        images: ImageList,
        preprocessing: Preprocessing,
        augment: AugmentSettings | None,
        seed: int,
        positions: Sequence[int],
        progress: Progress | None = None,
    ) -> ImageDataset:
        """Make a data set that loads its pictures, from the cache if there is one.

        Args:
            images: The split.
            preprocessing: How a picture becomes network input.
            augment: Random views; None for those of evaluation.
            seed: Key of the random views.
            positions: The pictures that will be asked for, which is when the cache holds them.
            progress: Wraps the iteration over those that are decoded now, for a progress bar.
        """
        is_cropped = bool(augment and augment.crop)
        if self.cache is None or isinstance(images, PackedList):  # what outgrows a disk is decoded in every epoch
            pixels = Pixels(images, None if is_cropped else CenterCrop(preprocessing))
        else:
            view = WorkingCopy.of(preprocessing) if is_cropped else CenterCrop(preprocessing)
            pixels = cached_pixels(images, view, self.cache, positions, progress)
        return ImageDataset(pixels, preprocessing, augment, seed)

    def reside(self, dataset: ImageDataset, positions: Sequence[int]) -> BatchDataset:
        """Return the data set, its pictures on the device if they may live there."""
        pixels = dataset.pixels
        if self.residency == "host" or self.device is None or not isinstance(pixels, StoredPixels):
            return dataset
        needed = num_bytes(pixels, positions)
        if needed is None or (self.residency == "auto" and not self._has_room(needed)):
            return dataset
        return ResidentDataset(dataset, ResidentPixels(pixels, positions, self.device))

    def _has_room(self, num_bytes: int) -> bool:
        assert self.device is not None
        return self.device.type == "cuda" and num_bytes <= SHARE_OF_FREE * torch.cuda.mem_get_info(self.device)[0]
