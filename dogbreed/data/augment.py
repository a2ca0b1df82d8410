"""Random views of a training picture, reproducible whatever the worker or the batch.

The randomness of a view is keyed by (seed, epoch, image): the same picture in
the same epoch gets the same crop whichever process decodes it and in whatever
order, so that an interrupted run can go on exactly where it was.

Shape legend: B batch, C channels (3), H/W pixels, S input side, R rounds of distortions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.data.distort import distort, draw_distortions
from dogbreed.data.mix import MixSettings, draw_mix, mix_batch
from dogbreed.data.preprocess import Preprocessing, resize
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

    @property
    def changes_batches(self) -> bool:
        """Say whether anything is made of a picture after it was cut."""
        return bool(self.num_distortions or self.erase_probability or self.mix.mixes)


class ViewGenerators:
    """The random generators of all pictures in all epochs, of which one is at hand at a time.

    Philox is counter-based (Salmon et al., "Parallel random numbers: as easy
    as 1, 2, 3", SC 2011): keys and counters give independent streams at once.
    Drawing counts up the counter's first word, so the picture sits in the second.

    Args:
        seed: Key of all of them.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=[seed % 2**64, 0], counter=0)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = self._bits.state

    def at(self, epoch: int, image: int) -> np.random.Generator:
        """Return the generator of one picture in one epoch, at its beginning; good until the next is asked for."""
        # To set a generator's state takes a sixth of the time that making one does.
        self._state["state"]["key"][1] = epoch
        self._state["state"]["counter"][1] = image
        self._bits.state = self._state
        return self._generator


def view_generator(seed: int, epoch: int, image: int) -> np.random.Generator:
    """Make the random generator of one picture in one epoch."""
    return ViewGenerators(seed).at(epoch, image)


# What is painted over: 2 to 33 % of the area (Zhong et al., "Random erasing", 2020).
ERASED = AugmentSettings(crop_scale=(0.02, 0.33), crop_ratio=(0.3, 3.3))


_UNMIXED = draw_mix(MixSettings(), np.random.default_rng())


class View(NamedTuple):
    """All that is random about one picture in one epoch.

    Args:
        box: Top, left, height and width of the crop in pixels.
        is_flipped: Mirrored left to right.
        distortions: Positions in `dogbreed.data.distort.DISTORTIONS`.
        strengths: Of each of them.
        erased: Top, left, height and width of what is painted over, in the network's input; nothing: height 0.
        mix: `dogbreed.data.mix.draw_mix`.
    """

    box: tuple[int, int, int, int]
    is_flipped: bool
    distortions: tuple[int, ...]
    strengths: tuple[float, ...]
    erased: tuple[int, int, int, int]
    mix: NDArray[np.float32]

    @classmethod
    def whole(cls, height_px: int, width_px: int) -> View:
        """Return the view that is the picture itself."""
        return cls((0, 0, height_px, width_px), False, (), (), (0, 0, 0, 0), _UNMIXED)


def draw_view(height_px: int, width_px: int, settings: AugmentSettings, side_px: int, rng: np.random.Generator) -> View:
    """Draw one picture's view.

    Args:
        height_px: Of the picture.
        width_px: Of the picture.
        settings: How to vary it.
        side_px: Of the network's input, for what is painted over.
        rng: The generator of this picture in this epoch.
    """
    box = random_crop_box(height_px, width_px, settings, rng) if settings.crop else (0, 0, height_px, width_px)
    is_flipped = rng.random() < settings.flip_probability
    distortions, strengths = draw_distortions(settings.num_distortions, settings.distortion_strength, rng)
    erased = (0, 0, 0, 0)
    if settings.erase_probability and rng.random() < settings.erase_probability:
        erased = random_crop_box(side_px, side_px, ERASED, rng)
    return View(box, is_flipped, distortions, strengths, erased, draw_mix(settings.mix, rng))


def cut_view(image_u8_CHW: Tensor, view: View, preprocessing: Preprocessing, out: Tensor) -> None:
    """Cut, resize and mirror one picture; the rest of its view is made a batch at a time (`Changes`).

    Args:
        image_u8_CHW: Decoded pixels, uint8, any size.
        view: Drawn for a picture of this size.
        preprocessing: Input side and interpolation.
        out: uint8, ``(3, S, S)``, is written.
    """
    top, left, height, width = view.box
    side = preprocessing.input_size_px
    cut = image_u8_CHW[:, top : top + height, left : left + width]
    if (height, width) != (side, side):
        cut = resize(cut, [side, side], preprocessing.interpolation)
    out.copy_(cut.flip(-1) if view.is_flipped else cut)


class Changes(NamedTuple):
    """What remains to be made of the views of a batch: distortions, painting over, mixing. Lives on the host.

    Args:
        distortions_BR: Positions in `dogbreed.data.distort.DISTORTIONS`.
        strengths_BR: Of each of them, -1..1.
        erased_B4: Top, left, height and width of what is painted over; height 0 for nothing.
        mix_B5: Of `dogbreed.data.mix.draw_mix`; None where no picture is ever mixed.
        color: What is painted over has this colour, 0..1, RGB.
    """

    distortions_BR: NDArray[np.int64]
    strengths_BR: NDArray[np.float32]
    erased_B4: NDArray[np.int64]
    mix_B5: NDArray[np.float32] | None
    color: tuple[float, float, float]

    @classmethod
    def of(cls, views: Sequence[View], settings: AugmentSettings, color: tuple[float, float, float]) -> Changes:
        """Put the views of a batch together."""
        return cls(
            np.array([view.distortions for view in views], dtype=np.int64),
            np.array([view.strengths for view in views], dtype=np.float32),
            np.array([view.erased for view in views], dtype=np.int64),
            np.stack([view.mix for view in views]) if settings.mix.mixes else None,
            color,
        )

    def apply(self, images_u8_BCSS: Tensor) -> tuple[Tensor, Tensor | None]:
        """Make them, on whatever device the pixels live.

        Returns:
            Pixels, uint8, and the share of each picture in its mixture with the one before it; None without mixing.

        Cost:
            No host synchronisation.
        """
        images = distort(images_u8_BCSS, self.distortions_BR, self.strengths_BR)
        if self.erased_B4[:, 2].any():
            images = _paint_over(images, self.erased_B4, self.color)
        if self.mix_B5 is None:
            return images, None
        return mix_batch(images, torch.from_numpy(self.mix_B5).to(images.device, non_blocking=True))


def _paint_over(images_u8_BCSS: Tensor, boxes_B4: NDArray[np.int64], color: tuple[float, float, float]) -> Tensor:
    """Paint a rectangle of each picture."""
    device, size = images_u8_BCSS.device, images_u8_BCSS.shape[-1]
    top_B, left_B, height_B, width_B = torch.from_numpy(boxes_B4).to(device, non_blocking=True)[:, :, None].unbind(1)
    axis_S = torch.arange(size, device=device)
    in_rows_BS = (axis_S >= top_B) & (axis_S < top_B + height_B)
    in_columns_BS = (axis_S >= left_B) & (axis_S < left_B + width_B)
    is_painted_B1SS = (in_rows_BS[:, :, None] & in_columns_BS[:, None, :])[:, None]
    color_C11 = torch.tensor([round(255 * value) for value in color], dtype=torch.uint8).view(3, 1, 1)
    return torch.where(is_painted_B1SS, color_C11.to(device, non_blocking=True), images_u8_BCSS)


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
