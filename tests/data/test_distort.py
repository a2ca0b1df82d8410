"""Distortions are torchvision's, each picture at its own strength, and are the same whoever draws them."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tvf

from dogbreed.data.augment import view_generator
from dogbreed.data.distort import DISTORTIONS, FILL, distort, draw_distortions

SMOOTH = torch.stack(torch.meshgrid(torch.arange(64) * 3, torch.arange(64) * 2, indexing="ij")).to(torch.uint8)
PICTURE = torch.cat([SMOOTH, SMOOTH[:1].flip(-1)]) + torch.randint(0, 30, (3, 64, 64), dtype=torch.uint8)
STRENGTHS = [-1.0, -0.4, 0.0, 0.3, 1.0]
SHEAR = math.degrees(math.atan(0.3))


def affine(image, angle=0.0, move=(0, 0), shear=(0.0, 0.0)):
    bilinear = tvf.InterpolationMode.BILINEAR
    return tvf.affine(image, angle, list(move), 1.0, list(shear), interpolation=bilinear, fill=list(FILL))


TORCHVISIONS = (
    lambda image, _: image,
    lambda image, s: affine(image, shear=(s * SHEAR, 0.0)),
    lambda image, s: affine(image, shear=(0.0, s * SHEAR)),
    lambda image, s: affine(image, move=(round(s * 64 * 150 / 331), 0)),
    lambda image, s: affine(image, move=(0, round(s * 64 * 150 / 331))),
    lambda image, s: affine(image, angle=30.0 * s),
    lambda image, s: tvf.adjust_brightness(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_saturation(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_contrast(image, 1 + 0.9 * s),
    lambda image, s: tvf.adjust_sharpness(image, 1 + 0.9 * s),
    lambda image, s: tvf.posterize(image, 8 - round(4 * abs(s))),
    lambda image, s: tvf.solarize(image, 255 * (1 - abs(s))),
    lambda image, _: tvf.autocontrast(image),
    lambda image, _: tvf.equalize(image),
)


@pytest.mark.parametrize("number", range(len(DISTORTIONS)))
def test_each_is_torchvisions(number):
    pictures = torch.stack([PICTURE.roll(b, 2) for b in range(len(STRENGTHS))])
    found = DISTORTIONS[number](pictures, torch.tensor(STRENGTHS))
    assert (found.shape, found.dtype) == (pictures.shape, torch.uint8)
    for ours, picture, strength in zip(found, pictures, STRENGTHS, strict=True):
        difference = (ours.int() - TORCHVISIONS[number](picture, strength).int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.05  # a product before a sum or after it


def test_what_moves_in_has_the_mean_colour():
    moved = DISTORTIONS[3](PICTURE[None], torch.ones(1))
    assert moved[0, :, 32, 0].tolist() == [int(value) for value in FILL]


def test_each_picture_of_a_batch_gets_its_own():
    pictures = torch.stack([PICTURE.roll(b, 1) for b in range(6)])
    numbers = np.array([[0, 0], [6, 0], [6, 5], [11, 13], [5, 6], [0, 12]])
    strengths = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    kept = pictures.clone()
    together = distort(pictures, numbers, strengths)
    assert torch.equal(pictures, kept)
    for b in range(6):
        alone = distort(pictures[b : b + 1], numbers[b : b + 1], strengths[b : b + 1])
        assert (together[b].int() - alone[0].int()).abs().max() <= 1
    assert torch.equal(together[0], pictures[0])
    assert len({tuple(view.flatten().tolist()) for view in together}) == 6


def test_draws_are_keyed():
    def draw(epoch, image):
        return draw_distortions(2, 0.5, view_generator(0, epoch, image))

    assert draw(0, 7) == draw(0, 7)
    assert len({draw(epoch, image) for epoch in range(10) for image in range(10)}) == 100
    assert draw_distortions(0, 1.0, view_generator(0, 0, 0)) == ((), ())
    assert all(abs(strength) <= 0.5 for image in range(50) for strength in draw(0, image)[1])
