import errno
import os
import pickle

import numpy as np
import pytest
import torch

from dogbreed.data import store
from dogbreed.data.store import PIXELS, TABLE, PixelStore, remove_leftovers, writing

SIZES = [(4, 6), (1, 1), (7, 3), (2, 9), (5, 5)]


def picture(number):
    height, width = SIZES[number % len(SIZES)]
    return torch.from_numpy(np.random.default_rng(number).integers(0, 256, (3, height, width), dtype=np.uint8))


def key(number):
    return number.to_bytes(16, "little")


def fill(folder, numbers, max_bytes=150):
    with writing(folder, max_bytes) as writer:
        for number in numbers:
            writer.add(key(number), picture(number))


def held(folder, numbers):
    """Read what a store has of these, through a copy as loader processes get it."""
    copy = pickle.loads(pickle.dumps(PixelStore(folder)))
    places = copy.find([key(number) for number in numbers])
    found = {}
    for number, shard, offset, size in zip(numbers, *places, strict=True):
        if shard >= 0:
            found[number] = copy.read(int(shard), int(offset), *map(int, size))
    return found


def test_what_was_written_is_read(tmp_path):
    fill(tmp_path, range(12))
    fill(tmp_path, range(20, 23))
    assert len(list(tmp_path.glob(f"*{TABLE}"))) > 3
    found = held(tmp_path, [22, 5, 99, 0, 11, 12])
    assert found.keys() == {22, 5, 0, 11}
    for number, pixels in found.items():
        assert torch.equal(pixels, picture(number))


def test_a_store_that_is_not_there_is_empty(tmp_path):
    assert held(tmp_path / "nowhere", [1, 2]) == {}
    assert len(PixelStore(tmp_path)) == 0


def test_a_failure_keeps_what_was_added(tmp_path):
    def fail():
        yield from range(8)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill(tmp_path, fail())
    assert held(tmp_path, range(9)).keys() == set(range(8))


@pytest.mark.parametrize("num_pictures", [2, 12], ids=["in the end", "while more come"])
def test_what_the_disk_refuses_is_not_there(tmp_path, monkeypatch, num_pictures):
    """An error of the disk is told by the kernel once, here to whoever waited for it last."""
    sync, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(store, "SYNCED_BYTES", 1 if num_pictures == 12 else 10**9)
    with pytest.raises(OSError, match="Input/output error"):
        fill(tmp_path, range(num_pictures), max_bytes=10**9)
    assert list(tmp_path.iterdir()) == []


def cut_pixels(shard):
    with shard.with_suffix(PIXELS).open("r+b") as file:
        file.truncate(100)


def cut_table(shard):
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)


@pytest.mark.parametrize(
    "harm",
    [cut_pixels, cut_table, lambda shard: shard.with_suffix(PIXELS).unlink(), lambda shard: shard.unlink()],
    ids=["cut pixels", "cut table", "no pixels", "no table"],
)
def test_a_damaged_shard_is_none(tmp_path, harm):
    fill(tmp_path, range(12))
    before = held(tmp_path, range(12))
    harm(sorted(tmp_path.glob(f"*{TABLE}"))[0])
    after = held(tmp_path, range(12))
    assert 0 < len(after) < len(before)
    assert all(torch.equal(pixels, picture(number)) for number, pixels in after.items())
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.glob(f"*{TABLE}"))) == len(list(tmp_path.glob(f"*{PIXELS}")))
    assert held(tmp_path, range(12)).keys() == after.keys()
