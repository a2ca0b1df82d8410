"""Where the pixels of a split come from: its files, or what was decoded of them before.

Shape legend: C channels (3), H/W pixels, S input side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dogbreed.data.decode import BadImageError, decode_image
from dogbreed.data.index import ImageList
from dogbreed.data.preprocess import Preprocessing, shrink
from dogbreed.data.store import PixelStore, Places
from dogbreed.errors import UserError


class View(Protocol):
    """What is kept of a picture: decoded pixels in, decoded pixels out. Its repr says all that decides its result."""

    @property
    def min_side_px(self) -> int | None:
        """How many pixels of the shorter side it needs; None for all that there are."""

    def __call__(self, image_u8_CHW: Tensor) -> Tensor:
        """Make it of one picture."""


@dataclass(frozen=True)
class WorkingCopy:
    """Shrink a picture to what random crops are cut from, its proportions kept; smaller ones stay as they are.

    Args:
        side_px: Shorter side of the copy.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic`` (antialiased).
    """

    side_px: int
    interpolation: str

    # Seven of ten crops of `augment=standard` are then cut from no fewer pixels than the network sees.
    SCALE = 1.25

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> WorkingCopy:
        """Make the one for a network's input."""
        return cls(round(cls.SCALE * preprocessing.input_size_px), preprocessing.interpolation)

    @property
    def min_side_px(self) -> int:
        """As many as it keeps."""
        return self.side_px

    def __str__(self) -> str:
        return f"pictures, shorter side at most {self.side_px} px"

    def __call__(self, image_u8_CHW: Tensor) -> Tensor:
        """Shrink one picture."""
        if min(image_u8_CHW.shape[-2:]) <= self.side_px:
            return image_u8_CHW
        return shrink(image_u8_CHW, self.side_px, self.interpolation)


@dataclass(frozen=True)
class CenterCrop:
    """Cut what evaluation sees: exact, ``(3, S, S)``."""

    preprocessing: Preprocessing
    min_side_px = None

    def __str__(self) -> str:
        return f"centre crops, {self.preprocessing.input_size_px} px"

    def __call__(self, image_u8_CHW: Tensor) -> Tensor:
        """Cut one picture."""
        return self.preprocessing.center_crop(image_u8_CHW)


@dataclass(frozen=True)
class Pixels:
    """The pictures of a split, each decoded when it is asked for.

    Args:
        images: The split.
        view: What is made of each; None for the whole picture.
    """

    images: ImageList
    view: View | None = None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Tensor:
        """Return a picture, uint8 ``(3, H, W)``; it must not be written to.

        Raises:
            UserError: the file is gone or broken since the scan.
        """
        try:
            pixels = decode_image(self.images.source(index), self.view.min_side_px if self.view else None)
        except BadImageError as error:
            msg = f"{self.images.name(index)}: {error}: restore or remove it and start again."
            raise UserError(msg) from error
        return self.view(pixels) if self.view else pixels


@dataclass(frozen=True)
class StoredPixels(Pixels):
    """The same, from a store; what is not in it is decoded.

    Args:
        store: Holds what ``view`` has made.
        places: Where each picture is in it.
    """

    store: PixelStore | None = None
    places: Places | None = None

    def read(self, index: int) -> Tensor:
        """Return a picture as `Pixels.read` does."""
        assert self.store is not None
        assert self.places is not None
        shard = int(self.places.shards_N[index])
        if shard < 0:
            return super().read(index)
        height, width = self.places.sizes_N2[index].tolist()
        try:
            return self.store.read(shard, int(self.places.offsets_N[index]), height, width)
        except OSError:  # removed from the cache while we run
            return super().read(index)
