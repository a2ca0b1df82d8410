"""Distortions keep pictures pictures, and are the same whoever draws them."""

import pytest
import torch
import torchvision.transforms.v2.functional as tvf

from dogbreed.data.augment import view_generator
from dogbreed.data.distort import DISTORTIONS, FILL, distort

SMOOTH = torch.stack(torch.meshgrid(torch.arange(64) * 3, torch.arange(64) * 2, indexing="ij")).to(torch.uint8)
PICTURE = torch.cat([SMOOTH, SMOOTH[:1].flip(-1)]) + torch.randint(0, 30, (3, 64, 64), dtype=torch.uint8)


@pytest.mark.parametrize("number", range(len(DISTORTIONS)))
@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0])
def test_every_distortion_keeps_shape_and_type(number, strength):
    view = DISTORTIONS[number](PICTURE, strength)
    assert (view.shape, view.dtype) == (PICTURE.shape, torch.uint8)
    # The first does nothing; the last two have no strength.
    if number and strength and number < len(DISTORTIONS) - 2:
        assert not torch.equal(view, PICTURE)
    elif number == 0 or number < len(DISTORTIONS) - 4:
        assert (view.int() - PICTURE.int()).abs().max() <= 1


def test_what_moves_in_has_the_mean_colour():
    moved = DISTORTIONS[3](PICTURE, 1.0)
    assert moved[:, 32, 0].tolist() == [int(value) for value in FILL]


def test_rotation_is_torchvisions():
    bilinear = tvf.InterpolationMode.BILINEAR
    assert torch.equal(DISTORTIONS[5](PICTURE, 0.5), tvf.rotate(PICTURE, -15.0, bilinear, fill=FILL))


def test_draws_are_keyed():
    def view(epoch, image):
        return distort(PICTURE, 2, 0.5, view_generator(0, epoch, image))

    assert torch.equal(view(0, 7), view(0, 7))
    assert sum(torch.equal(view(0, 7), view(epoch, 7)) for epoch in range(1, 9)) < 3
    assert torch.equal(distort(PICTURE, 0, 1.0, view_generator(0, 0, 0)), PICTURE)
