"""Who visits which picture when: every picture once, the same batches however many work on them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import ImageDataModule, Preprocessing, UserError
from dogbreed.data.sampler import EpochSampler, mixed_groups, weighted_order


def batches(sampler, size):
    visits = [visit.image for visit in sampler]
    return [visits[i : i + size] for i in range(0, len(visits), size)]


@given(num_images=st.integers(8, 200), share=st.integers(1, 4), ranks=st.integers(1, 2), epoch=st.integers(0, 5))
def test_processes_share_the_batches_of_one(num_images, share, ranks, epoch):
    size = share * ranks
    alone = EpochSampler(num_images, size, seed=3)
    alone.set_epoch(epoch)
    whole = batches(alone, size)
    assert len(whole) == num_images // size
    assert len({image for batch in whole for image in batch}) == len(whole) * size
    parts = []
    for rank in range(ranks):
        sampler = EpochSampler(num_images, size, seed=3, rank=rank, num_ranks=ranks)
        sampler.set_epoch(epoch)
        parts.append(batches(sampler, share))
        assert len(sampler) == len(whole) * share
    assert [list(itertools.chain(*shares)) for shares in zip(*parts, strict=True)] == whole


def test_an_epoch_can_be_entered_in_the_middle_once():
    sampler = EpochSampler(40, 8)
    whole = list(sampler)
    sampler.start_at(3)
    assert list(sampler) == whole[24:]
    assert list(sampler) == whole


def test_orders_differ_between_epochs_and_seeds():
    orders = set()
    for seed in range(3):
        sampler = EpochSampler(30, 5, seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(visit.image for visit in sampler))
    assert len(orders) == 9


def test_balanced_classes_come_equally_often(tmp_path):
    from helpers import COLORS, save_picture

    for name, count in zip(COLORS, (2, 6, 40), strict=True):
        for number in range(count):
            save_picture(tmp_path / "train" / name / f"{number}.jpg", COLORS[name], number)
        save_picture(tmp_path / "valid" / name / "0.jpg", COLORS[name], 99)
    data = ImageDataModule(tmp_path, preprocessing=Preprocessing(32, 36), batch_size=8, sampling="balanced")
    sampler = data.train_dataloader().sampler
    labels = data.index.split("train").labels
    counts = np.zeros(3)
    for epoch in range(40):
        sampler.set_epoch(epoch)
        drawn = [visit.image for visit in sampler]
        assert len(drawn) == 48
        counts += np.bincount(labels[drawn], minlength=3)
    assert counts / counts.sum() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert np.bincount(labels).tolist() == data.index.class_counts("train") == [2, 6, 40]
    with pytest.raises(UserError, match="data.sampling=even is unknown"):
        ImageDataModule(tmp_path, sampling="even")


@given(weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=50), seed=st.integers(0, 2**32))
def test_weighted_pictures_come_as_often_as_they_should(weights, seed):
    shares = np.array(weights) / sum(weights)
    counts = np.bincount(weighted_order(shares, np.random.default_rng(seed)), minlength=len(weights))
    assert counts.sum() == len(weights)
    assert (abs(counts - len(weights) * shares) < 1 + 1e-9).all()


def test_equal_weights_leave_no_picture_out():
    order = weighted_order(np.full(70, 1 / 70), np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(70))
    assert order.tolist() != sorted(order.tolist())


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), window=st.integers(1, 60), seed=st.integers(0, 2**32)
)
def test_groups_come_one_after_another_mixed_at_their_borders(sizes, window, seed):
    groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    order = mixed_groups(groups, window, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(groups)))
    turns = np.random.default_rng(seed).permutation(len(sizes))
    unmixed = np.argsort(turns[groups], kind="stable")
    place = np.empty_like(order)
    place[unmixed] = np.arange(len(groups))
    assert (np.arange(len(groups)) - place[order] < window).all()  # later by less than the window …
    assert (place[order] - np.arange(len(groups)) < window).all()  # … and so earlier


def test_epochs_go_through_groups_in_another_order():
    groups = np.repeat(np.arange(8, dtype=np.int32), 50)
    sampler = EpochSampler(400, 10, groups_N=groups, window=20)
    firsts = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        firsts.append(groups[next(iter(sampler)).image])
    assert len(set(firsts)) > 2


@pytest.mark.parametrize("ranks", [1, 2])
def test_pictures_are_announced_before_they_are_visited(ranks):
    groups = np.repeat(np.arange(8, dtype=np.int32), 50)
    announced = []
    sampler = EpochSampler(400, 10, groups_N=groups, window=40, fetch=announced.append, rank=ranks - 1, num_ranks=ranks)
    visited = []
    for visit in sampler:
        visited.append(visit.image)
        assert announced[: len(visited)] == visited
        assert len(announced) == min(len(visited) + 40 // ranks, 400 // ranks)
    assert announced == visited
