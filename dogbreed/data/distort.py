"""Random distortions of colour and shape, a few for each picture.

Shape legend: C channels (3), H/W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torchvision.transforms.v2.functional as tvf
from torch import Tensor
from torchvision.transforms import InterpolationMode

# What moves into the picture from outside: ImageNet's mean colour.
FILL = [124.0, 116.0, 104.0]

# Each takes pixels and a strength -1..1, whose sign is a direction.
Distortion = Callable[[Tensor, float], Tensor]


def _warp(
    image: Tensor, *, angle: float = 0.0, x_px: int = 0, y_px: int = 0, shear: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    bilinear = InterpolationMode.BILINEAR
    return tvf.affine(image, angle, [x_px, y_px], 1.0, list(shear), interpolation=bilinear, fill=FILL)


_SHEAR_DEGREES = math.degrees(math.atan(0.3))

# Ranges at full strength as torchvision's RandAugment has them.
DISTORTIONS: tuple[Distortion, ...] = (
    lambda image, _: image,
    lambda image, s: _warp(image, shear=(s * _SHEAR_DEGREES, 0.0)),
    lambda image, s: _warp(image, shear=(0.0, s * _SHEAR_DEGREES)),
    lambda image, s: _warp(image, x_px=round(s * image.shape[-1] * 150 / 331)),
    lambda image, s: _warp(image, y_px=round(s * image.shape[-2] * 150 / 331)),
    lambda image, s: _warp(image, angle=30.0 * s),
    lambda image, s: tvf.adjust_brightness(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_saturation(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_contrast(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_sharpness(image, 1 + 0.9 * s),
    lambda image, s: tvf.posterize(image, 8 - round(4 * abs(s))),
    lambda image, s: tvf.solarize(image, 255 * (1 - abs(s))),
    lambda image, _: tvf.autocontrast(image),
    lambda image, _: tvf.equalize(image),
)


def distort(image_u8_CHW: Tensor, num_distortions: int, strength: float, rng: np.random.Generator) -> Tensor:
    """Apply a few random distortions, each at a random strength.

    As RandAugment (Cubuk et al., 2020), but with strengths uniform up to the given one as in
    TrivialAugment (Müller & Hutter, 2021), so that mild views stay among them.

    Args:
        image_u8_CHW: Pixels, uint8.
        num_distortions: How many, >= 0.
        strength: Largest strength, 0..1.
        rng: The generator of this picture in this epoch.

    Returns:
        uint8, as large as the picture.
    """
    for _ in range(num_distortions):
        distortion = DISTORTIONS[rng.integers(len(DISTORTIONS))]
        image_u8_CHW = distortion(image_u8_CHW, strength * rng.uniform(-1, 1))
    return image_u8_CHW
