"""Random views depend on (seed, epoch, picture) and on nothing else."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import AugmentSettings, ImageDataModule, Preprocessing, UserError
from dogbreed.data.augment import Changes, ViewGenerators, cut_view, draw_view, random_crop_box, view_generator


def view_of(picture, settings, preprocessing, image):
    view = draw_view(*picture.shape[1:], settings, preprocessing.input_size_px, view_generator(0, 0, image))
    cut_1CSS = torch.empty(1, 3, preprocessing.input_size_px, preprocessing.input_size_px, dtype=torch.uint8)
    cut_view(picture, view, preprocessing, out=cut_1CSS[0])
    return Changes.of([view], settings, preprocessing.mean).apply(cut_1CSS)[0][0]


def test_a_generator_moved_to_a_picture_is_the_picture_s_own():
    generators = ViewGenerators(2**64 + 5)
    for epoch, image in ((0, 0), (3, 7), (2, 2**40), (0, 1)):
        generator = generators.at(epoch, image)
        drawn = [generator.integers(9), generator.random(), *generator.random(5)]  # leaves half a word over
        own = np.random.Generator(np.random.Philox(key=[5, epoch], counter=[0, image, 0, 0]))
        assert drawn == [own.integers(9), own.random(), *own.random(5)]


@given(height=st.integers(1, 900), width=st.integers(1, 900), seed=st.integers(0, 2**32))
def test_crop_box_lies_inside(height, width, seed):
    top, left, h, w = random_crop_box(height, width, AugmentSettings(), np.random.default_rng(seed))
    assert top >= 0
    assert left >= 0
    assert h >= 1
    assert w >= 1
    assert top + h <= height
    assert left + w <= width


def test_crop_area_and_ratio_are_as_asked():
    settings = AugmentSettings(crop_scale=(0.3, 0.6), crop_ratio=(0.8, 1.25))
    boxes = [random_crop_box(400, 500, settings, view_generator(0, 0, i))[2:] for i in range(2000)]
    areas = np.array([h * w / 200_000 for h, w in boxes])
    ratios = np.array([w / h for h, w in boxes])
    assert 0.295 < areas.min() < 0.32
    assert 0.58 < areas.max() < 0.605
    assert abs(areas.mean() - 0.45) < 0.01
    assert ratios.min() > 0.79
    assert ratios.max() < 1.26
    assert abs(np.log(ratios).mean()) < 0.01


def test_flip_probability():
    picture = torch.arange(3 * 64 * 64, dtype=torch.int64).remainder(256).to(torch.uint8).view(3, 64, 64)
    settings = AugmentSettings(crop=False, flip_probability=0.25)
    square = Preprocessing(64, 64)
    flips = [torch.equal(view_of(picture, settings, square, i), picture.flip(-1)) for i in range(800)]
    assert abs(sum(flips) / 800 - 0.25) < 0.05


def test_erasing_paints_one_rectangle_of_the_mean_colour():
    picture = torch.full((3, 64, 64), 7, dtype=torch.uint8)
    settings = AugmentSettings(crop=False, flip_probability=0.0, erase_probability=0.5)
    areas = []
    for i in range(300):
        view = view_of(picture, settings, Preprocessing(64, 64), i)
        painted = (view != 7).all(0)
        if painted.any():
            rows, columns = painted.any(1).nonzero(), painted.any(0).nonzero()
            height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
            assert painted.sum() == height * width
            assert view[:, painted].unique(dim=1).flatten().tolist() == [124, 116, 104]
            areas.append(height * width / 64**2)
    assert 0.4 < len(areas) / 300 < 0.6
    assert 0.01 < min(areas) < 0.06
    assert 0.25 < max(areas) < 0.35
    assert (picture == 7).all()


def epochs_of(tree, num_workers, batch_size=8, epochs=2):
    data = ImageDataModule(
        tree,
        preprocessing=Preprocessing(32, 36),
        augment=AugmentSettings(),
        num_workers=num_workers,
        batch_size=batch_size,
    )
    loader = data.train_dataloader()
    seen = {}
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            seen |= {(epoch, int(i)): view for i, view in zip(batch.indices, batch.images, strict=True)}
    return seen


def test_views_do_not_depend_on_workers_or_batches(tree):
    alone = epochs_of(tree, num_workers=0)
    with_workers = epochs_of(tree, num_workers=2, batch_size=4)
    assert alone.keys() == with_workers.keys()
    assert all(torch.equal(alone[key], with_workers[key]) for key in alone)


def test_neighbours_share_no_random_numbers():
    streams = [
        set(view_generator(seed, epoch, image).random(64)) for seed in (0, 1) for epoch in (0, 1) for image in (0, 1, 2)
    ]
    assert len(set.union(*streams)) == sum(map(len, streams))


def test_epochs_and_seeds_differ(tree):
    seen = epochs_of(tree, num_workers=0)
    same = [torch.equal(seen[0, i], seen[1, i]) for i in range(24)]
    assert sum(same) < 3
    draws = {
        view_generator(seed, epoch, image).random() for seed in range(3) for epoch in range(3) for image in range(3)
    }
    assert len(draws) == 27


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_scale": (0.9, 0.1)},
        {"crop_scale": (0.0, 1.0)},
        {"crop_ratio": (2, 1)},
        {"flip_probability": math.inf},
        {"distortion_strength": 2.0},
        {"erase_probability": -0.1},
        {"num_distortions": -1},
    ],
)
def test_ranges_are_checked(wrong):
    with pytest.raises(UserError, match=f"augment.{next(iter(wrong))}"):
        AugmentSettings(**wrong)
