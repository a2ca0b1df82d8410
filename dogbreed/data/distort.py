"""Random distortions of colour and shape, a few for each picture, made a batch at a time on its device.

The arithmetic of each is torchvision's on uint8 pixels, with a strength of its own for each picture.

Shape legend: B batch, C channels (3), S input side, R rounds of distortions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torchvision.transforms.v2.functional as tvf
from numpy.typing import NDArray
from torch import Tensor, nn

# What moves into the picture from outside: ImageNet's mean colour.
FILL = (124.0, 116.0, 104.0)

# Pixels (B, 3, S, S) uint8 and strengths (B,) -1..1, whose sign is a direction, to pixels.
Distortion = Callable[[Tensor, Tensor], Tensor]


def _blend(images: Tensor, others: Tensor, factor_B: Tensor) -> Tensor:
    factor_B111 = factor_B[:, None, None, None]
    return (images * factor_B111 + others * (1 - factor_B111)).clamp_(0, 255).to(torch.uint8)


def _grey(images_u8_BCSS: Tensor) -> Tensor:
    red, green, blue = images_u8_BCSS.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor_()[:, None]


def _brightness(images: Tensor, strength_B: Tensor) -> Tensor:
    return _blend(images, torch.zeros_like(images[:, :1]), 1 + 0.9 * strength_B)


def _saturation(images: Tensor, strength_B: Tensor) -> Tensor:
    return _blend(images, _grey(images), 1 + 0.9 * strength_B)


def _contrast(images: Tensor, strength_B: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), 1 + 0.9 * strength_B)


def _sharpness(images: Tensor, strength_B: Tensor) -> Tensor:
    kernel_33 = torch.full((3, 3), 1 / 13, device=images.device)
    kernel_33[1, 1] = 5 / 13
    blurred = images.float()
    inner = nn.functional.conv2d(blurred, kernel_33.expand(3, 1, 3, 3), groups=3).round_()
    blurred[:, :, 1:-1, 1:-1] = inner
    return _blend(images, blurred, 1 + 0.9 * strength_B)


def _posterize(images: Tensor, strength_B: Tensor) -> Tensor:
    dropped_B = (4 * strength_B.abs()).round().to(torch.int32)
    mask_B = (0xFF << dropped_B) & 0xFF
    return images & mask_B.to(torch.uint8)[:, None, None, None]


def _solarize(images: Tensor, strength_B: Tensor) -> Tensor:
    threshold_B111 = (255 * (1 - strength_B.abs()))[:, None, None, None]
    return torch.where(images >= threshold_B111, 255 - images, images)


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    return tvf.autocontrast(images)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    return tvf.equalize(images)


def _warp(images: Tensor, matrix_B23: Tensor) -> Tensor:
    """Look each pixel up where a matrix of pixel coordinates around the centre says; bilinear."""
    size = images.shape[-1]
    axis_S = torch.arange(size, device=images.device) - (size - 1) / 2
    rows_SS, columns_SS = torch.meshgrid(axis_S, axis_S, indexing="ij")
    base_SS3 = torch.stack([columns_SS, rows_SS, torch.ones_like(rows_SS)], dim=2)
    grid_BSS2 = (base_SS3.view(1, -1, 3) @ matrix_B23.transpose(1, 2)).view(-1, size, size, 2) * (2 / size)
    inside = torch.ones_like(images[:, :1], dtype=torch.float32)
    pixels = torch.cat([images.float(), inside], dim=1)
    found = nn.functional.grid_sample(pixels, grid_BSS2, mode="bilinear", padding_mode="zeros", align_corners=False)
    share = found[:, 3:]
    fill_C11 = images.new_tensor(FILL, dtype=torch.float32).view(3, 1, 1)
    return (found[:, :3] * share + fill_C11 * (1 - share)).round_().clamp_(0, 255).to(torch.uint8)


def _matrix(entries: dict[tuple[int, int], Tensor], like_B: Tensor) -> Tensor:
    matrix_B23 = torch.eye(2, 3, device=like_B.device).repeat(len(like_B), 1, 1)
    for (row, column), values_B in entries.items():
        matrix_B23[:, row, column] = values_B
    return matrix_B23


def _rotate(images: Tensor, strength_B: Tensor) -> Tensor:
    angle_B = torch.deg2rad(30.0 * strength_B)
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    return _warp(images, _matrix({(0, 0): cos_B, (0, 1): sin_B, (1, 0): -sin_B, (1, 1): cos_B}, strength_B))


def _shear_x(images: Tensor, strength_B: Tensor) -> Tensor:
    slope_B = (strength_B * math.atan(0.3)).tan()
    return _warp(images, _matrix({(0, 1): slope_B}, strength_B))


def _shear_y(images: Tensor, strength_B: Tensor) -> Tensor:
    slope_B = (strength_B * math.atan(0.3)).tan()
    return _warp(images, _matrix({(1, 0): slope_B}, strength_B))


def _move_x(images: Tensor, strength_B: Tensor) -> Tensor:
    return _warp(images, _matrix({(0, 2): -(strength_B * images.shape[-1] * 150 / 331).round()}, strength_B))


def _move_y(images: Tensor, strength_B: Tensor) -> Tensor:
    return _warp(images, _matrix({(1, 2): -(strength_B * images.shape[-2] * 150 / 331).round()}, strength_B))


# Ranges at full strength as torchvision's RandAugment has them. The first leaves the picture as it is.
DISTORTIONS: tuple[Distortion, ...] = (
    lambda images, _: images,
    _shear_x,
    _shear_y,
    _move_x,
    _move_y,
    _rotate,
    _brightness,
    _saturation,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)


def draw_distortions(
    num_distortions: int, strength: float, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Draw a few distortions of one picture, each at a random strength.

    As RandAugment (Cubuk et al., 2020), but with strengths uniform up to the given one as in
    TrivialAugment (Müller & Hutter, 2021), so that mild views stay among them.

    Args:
        num_distortions: R, >= 0.
        strength: Largest strength, 0..1.
        rng: The generator of this picture in this epoch.

    Returns:
        Their positions in `DISTORTIONS`, and their strengths, -1..1.
    """
    drawn = [(int(rng.integers(len(DISTORTIONS))), strength * rng.uniform(-1, 1)) for _ in range(num_distortions)]
    return tuple(number for number, _ in drawn), tuple(amount for _, amount in drawn)


def distort(images_u8_BCSS: Tensor, numbers_BR: NDArray[np.int64], strengths_BR: NDArray[np.float32]) -> Tensor:
    """Make what was drawn for each picture of a batch.

    Args:
        images_u8_BCSS: Pixels, uint8; left as they are.
        numbers_BR: Positions in `DISTORTIONS`, on the host, which thereby knows what there is to do.
        strengths_BR: Strengths, -1..1.

    Returns:
        uint8, ``(B, 3, S, S)``.

    Cost:
        A few passes over each picture for each of its distortions; no host synchronisation.
    """
    device = images_u8_BCSS.device
    for numbers_B, strengths_B in zip(numbers_BR.T, strengths_BR.T, strict=True):
        images_u8_BCSS = images_u8_BCSS.clone()
        for number in np.unique(numbers_B[numbers_B > 0]):
            chosen = np.flatnonzero(numbers_B == number)
            places = torch.from_numpy(chosen).to(device, non_blocking=True)
            strengths = torch.from_numpy(strengths_B[chosen]).to(device, non_blocking=True)
            images_u8_BCSS[places] = DISTORTIONS[number](images_u8_BCSS[places], strengths)
    return images_u8_BCSS
