"""Random views of a training picture, reproducible whatever the worker or the batch.

The randomness of a view is keyed by (seed, epoch, image): the same picture in
the same epoch gets the same crop whichever process decodes it and in whatever
order, so that an interrupted run can go on exactly where it was.

Shape legend: C channels (3), H/W pixels, S input side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torchvision.transforms.v2.functional as tvf
from torch import Tensor

from dogbreed.data.distort import distort
from dogbreed.data.mix import MixSettings
from dogbreed.data.preprocess import INTERPOLATIONS, Preprocessing
from dogbreed.errors import UserError


@dataclass(frozen=True)
class AugmentSettings:
    """How training pictures are varied.

    Args:
        crop: Cut a random rectangle; otherwise the evaluation's view is varied.
        crop_scale: Smallest and largest share of the picture's area in a crop, 0..1.
        crop_ratio: Narrowest and widest crop as width / height, > 0.
        flip_probability: Chance of a horizontal mirror image, 0..1.
        num_distortions: Random changes of colour or shape a picture, >= 0; see `dogbreed.data.distort`.
        distortion_strength: The strongest of them, 0..1.
        erase_probability: Chance that a random rectangle is painted over, 0..1.
        mix: Mixup and cutmix.

    Raises:
        UserError: a range is reversed or out of bounds.
    """

    crop: bool = True
    crop_scale: tuple[float, float] = (0.5, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    num_distortions: int = 0
    distortion_strength: float = 0.3
    erase_probability: float = 0.0
    mix: MixSettings = field(default_factory=MixSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_scale", tuple(self.crop_scale))
        object.__setattr__(self, "crop_ratio", tuple(self.crop_ratio))
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            msg = f"augment.crop_scale=[{low},{high}] must be two shares of the area with 0 < low <= high <= 1."
            raise UserError(msg)
        low, high = self.crop_ratio
        if not 0 < low <= high:
            msg = f"augment.crop_ratio=[{low},{high}] must be two ratios with 0 < narrow <= wide."
            raise UserError(msg)
        for name in ("flip_probability", "distortion_strength", "erase_probability"):
            if not 0 <= getattr(self, name) <= 1:
                msg = f"augment.{name}={getattr(self, name)} must be between 0 and 1."
                raise UserError(msg)
        if self.num_distortions < 0:
            msg = f"augment.num_distortions={self.num_distortions} must not be negative."
            raise UserError(msg)


def view_generator(seed: int, epoch: int, image: int) -> np.random.Generator:
    """Make the random generator of one picture in one epoch.

    Philox is counter-based (Salmon et al., "Parallel random numbers: as easy
    as 1, 2, 3", SC 2011): keys and counters give independent streams at once.
    Drawing counts up the counter's first word, so the picture sits in the second.
    """
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, epoch], counter=[0, image, 0, 0]))


def random_view(
    image_u8_CHW: Tensor, settings: AugmentSettings, preprocessing: Preprocessing, rng: np.random.Generator
) -> Tensor:
    """Cut, resize, mirror, distort and erase one training picture, as the settings want it.

    Args:
        image_u8_CHW: Decoded pixels, uint8, any size; where no crop is wanted, the evaluation's view of them.
        settings: How to vary it.
        preprocessing: Input side and interpolation.
        rng: The generator of this picture in this epoch.

    Returns:
        uint8, ``(3, S, S)``.
    """
    if settings.crop:
        height_px, width_px = image_u8_CHW.shape[-2:]
        top, left, crop_height, crop_width = random_crop_box(height_px, width_px, settings, rng)
        side = preprocessing.input_size_px
        view = tvf.resize(
            image_u8_CHW[:, top : top + crop_height, left : left + crop_width],
            [side, side],
            interpolation=INTERPOLATIONS[preprocessing.interpolation],
            antialias=True,
        )
    else:
        view = image_u8_CHW
    if rng.random() < settings.flip_probability:
        view = view.flip(-1)
    view = distort(view, settings.num_distortions, settings.distortion_strength, rng)
    if settings.erase_probability and rng.random() < settings.erase_probability:
        view = _erase(view, preprocessing, rng)
    return view


def _erase(view_u8_CSS: Tensor, preprocessing: Preprocessing, rng: np.random.Generator) -> Tensor:
    """Paint a rectangle of 2 to 33 % of the area with the mean colour (Zhong et al., "Random erasing", 2020)."""
    shape = AugmentSettings(crop_scale=(0.02, 0.33), crop_ratio=(0.3, 3.3))
    side = view_u8_CSS.shape[-1]
    top, left, height, width = random_crop_box(side, side, shape, rng)
    view_u8_CSS = view_u8_CSS.clone()
    mean_C11 = torch.tensor(preprocessing.mean).mul(255).round().to(torch.uint8).view(3, 1, 1)
    view_u8_CSS[:, top : top + height, left : left + width] = mean_C11
    return view_u8_CSS


def random_crop_box(
    height_px: int, width_px: int, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the rectangle of a random resized crop.

    Area uniform in ``crop_scale``, aspect ratio log-uniform in ``crop_ratio``;
    after ten rectangles that do not fit, the largest centred one in range
    (Szegedy et al., "Going deeper with convolutions", 2014, as torchvision's
    ``RandomResizedCrop`` draws it).

    Args:
        height_px: Picture height, >= 1.
        width_px: Picture width, >= 1.
        settings: Ranges of area and aspect ratio.
        rng: Source of randomness.

    Returns:
        ``(top, left, height, width)`` in pixels, inside the picture.
    """
    area = height_px * width_px
    log_low, log_high = math.log(settings.crop_ratio[0]), math.log(settings.crop_ratio[1])
    for _ in range(10):
        target = area * rng.uniform(*settings.crop_scale)
        ratio = math.exp(rng.uniform(log_low, log_high))
        crop_width = round(math.sqrt(target * ratio))
        crop_height = round(math.sqrt(target / ratio))
        if 0 < crop_width <= width_px and 0 < crop_height <= height_px:
            top = int(rng.integers(0, height_px - crop_height + 1))
            left = int(rng.integers(0, width_px - crop_width + 1))
            return top, left, crop_height, crop_width
    ratio = min(max(width_px / height_px, settings.crop_ratio[0]), settings.crop_ratio[1])
    crop_width = max(1, min(width_px, round(height_px * ratio)))
    crop_height = max(1, min(height_px, round(width_px / ratio)))
    return (height_px - crop_height) // 2, (width_px - crop_width) // 2, crop_height, crop_width
