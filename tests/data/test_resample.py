import pytest
import torch
import torchvision.transforms.v2.functional as tvf

from dogbreed.data.preprocess import INTERPOLATIONS
from dogbreed.data.resample import cut_and_resize, resize_weights

SIZES = [(40, 60), (33, 21), (64, 64), (9, 50), (120, 30)]
BOXES = [(3, 5, 30, 41), (0, 0, 33, 21), (10, 20, 7, 7), (2, 0, 5, 50), (60, 1, 60, 12)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side_px", [16, 32, 48])
def test_it_is_what_torchvision_does(interpolation, side_px):
    generator = torch.Generator().manual_seed(side_px)
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in SIZES]
    flipped = [False, True, False, True, True]
    lengths = torch.tensor([height * width for height, width in SIZES])
    found = cut_and_resize(
        torch.cat([picture.permute(1, 2, 0).reshape(-1, 3) for picture in pictures]),
        lengths.cumsum(0) - lengths,
        torch.tensor([width for _, width in SIZES]),
        torch.tensor(BOXES),
        (max(box[2] for box in BOXES), max(box[3] for box in BOXES)),
        side_px=side_px,
        interpolation=interpolation,
        is_flipped_B=torch.tensor(flipped),
    )
    assert found.dtype == torch.uint8
    assert found.is_contiguous(memory_format=torch.channels_last)
    for ours, picture, (top, left, height, width), flip in zip(found, pictures, BOXES, flipped, strict=True):
        cut = picture[:, top : top + height, left : left + width]
        theirs = tvf.resize(cut, [side_px] * 2, interpolation=INTERPOLATIONS[interpolation], antialias=True)
        theirs = theirs.flip(-1) if flip else theirs
        difference = (ours.int() - theirs.int()).abs()
        assert difference.max() <= (0 if interpolation == "nearest" else 1)
        assert difference.float().mean() < 0.3


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_plain_colour_stays(interpolation):
    weights = resize_weights(torch.tensor([1, 3, 17, 40]), 8, 40, interpolation)
    torch.testing.assert_close(weights.sum(2), torch.ones(4, 8))
    assert not weights[1, :, 3:].any()


@pytest.mark.gpu
def test_the_gpu_does_the_same():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (300 * 400, 3), dtype=torch.uint8, generator=generator)
    numbers = {
        "offsets_B": torch.zeros(2, dtype=torch.int64),
        "widths_B": torch.tensor([400, 400]),
        "boxes_B4": torch.tensor([[0, 0, 300, 400], [20, 30, 111, 97]]),
        "is_flipped_B": torch.tensor([False, True]),
    }
    shape = {"longest": (300, 400), "side_px": 224, "interpolation": "bicubic"}
    host = cut_and_resize(pixels, **numbers, **shape)
    device = cut_and_resize(pixels.cuda(), **{name: tensor.cuda() for name, tensor in numbers.items()}, **shape)
    assert (host.int() - device.cpu().int()).abs().max() <= 1
