"""The cache of decoded pictures: each file once, never a wrong pixel, and no run that fails because of it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import make_tree, save_picture

from dogbreed.data import cache, pixels
from dogbreed.data.cache import CacheSettings, cached_pixels
from dogbreed.data.cache_entries import entries
from dogbreed.data.decode import decode_image
from dogbreed.data.pixels import CenterCrop, Pixels, WorkingCopy
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.scan import scan_folder
from dogbreed.errors import UserError

SMALL = WorkingCopy(24, "bilinear")
CROP = CenterCrop(Preprocessing(16, 18))


@pytest.fixture
def root(tmp_path):
    return make_tree(tmp_path / "pictures", {"train": 4, "valid": 1})


@pytest.fixture
def settings(tmp_path):
    return CacheSettings(tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from now on."""
    files = []

    def count(path, *more):
        files.append(path.name)
        return decode_image(path, *more)

    monkeypatch.setattr(pixels, "decode_image", count)
    return files


def read_all(root, settings, view=SMALL, positions=None):
    images = scan_folder(root).split("train")
    positions = range(len(images)) if positions is None else positions
    source = cached_pixels(images, view, settings, positions)
    return {images.paths[index]: source.read(index) for index in positions}


def stored_bytes(folder):
    return sum(entry.num_bytes for entry in entries(folder))


def check(root, found, view=SMALL):
    for path, image in found.items():
        assert torch.equal(image, view(decode_image(root / path))), path


@pytest.mark.parametrize("view", [SMALL, CROP], ids=["copy", "crop"])
def test_each_file_is_decoded_once(root, settings, decoded, view):
    found = read_all(root, settings, view)
    assert len(decoded) == len(found) == 12
    assert sorted(decoded) == sorted(set(decoded))
    check(root, found, view)
    check(root, read_all(root, settings, view), view)
    assert len(decoded) == 12


def test_only_what_is_asked_for_is_kept(root, settings, decoded):
    read_all(root, settings, positions=[0, 5])
    assert len(decoded) == 2
    read_all(root, settings)
    assert len(decoded) == 12


def test_a_small_picture_stays_as_it_is(tmp_path, settings):
    make_tree(tmp_path / "pictures", {"train": 2})
    big = WorkingCopy(400, "bilinear")
    check(tmp_path / "pictures", read_all(tmp_path / "pictures", settings, big), view=lambda image: image)


def test_what_changed_is_decoded_again_and_nothing_else(root, settings, decoded):
    read_all(root, settings)
    save_picture(root / "train" / "red" / "red_1.jpg", (200, 200, 0), seed=77)
    save_picture(root / "train" / "blue" / "new.jpg", (10, 20, 250), seed=78)
    (root / "train" / "green" / "green_0.jpg").unlink()
    decoded.clear()
    found = read_all(root, settings)
    assert sorted(decoded) == ["new.jpg", "red_1.jpg"]
    assert len(found) == 12
    check(root, found)


def test_the_same_bytes_at_another_time_are_another_file(root, settings, decoded):
    read_all(root, settings)
    os.utime(root / "train" / "red" / "red_1.jpg", (1, 1))
    decoded.clear()
    read_all(root, settings)
    assert decoded == ["red_1.jpg"]


def test_another_view_is_kept_beside(root, settings, decoded):
    read_all(root, settings)
    check(root, read_all(root, settings, CROP), CROP)
    check(root, read_all(root, settings))
    assert len(decoded) == 24


def test_several_that_ask_at_once_decode_once(root, settings, decoded):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: read_all(root, settings), range(4)):
            check(root, found)
    assert len(decoded) == 12


KILLED = """
import os, signal, sys
from pathlib import Path
from dogbreed.data import cache, store
from dogbreed.data.pixels import WorkingCopy
from dogbreed.data.scan import scan_folder

store.MAX_SHARD_BYTES = 5000
write, calls = store.ShardWriter.add, []
def add(self, *args):
    self._max_bytes = 5000
    write(self, *args)
    calls.append(1)
    if len(calls) == 8:
        [shard.result() for shard in self._finishing]
        os.kill(os.getpid(), signal.SIGKILL)
store.ShardWriter.add = add
images = scan_folder(Path(sys.argv[1])).split("train")
cache.cached_pixels(images, WorkingCopy(24, "bilinear"), cache.CacheSettings(Path(sys.argv[2])), range(len(images)))
"""


def test_a_killed_build_leaves_nothing_wrong(root, settings, decoded):
    done = subprocess.run([sys.executable, "-c", KILLED, root, settings.folder])
    assert done.returncode == -signal.SIGKILL
    check(root, read_all(root, settings))
    assert 4 <= len(decoded) < 12  # what was finished was kept
    [entry] = entries(settings.folder)
    assert len({file.stem for file in entry.folder.glob("*.pixels")}) == len(list(entry.folder.glob("*.npz")))


def test_a_cap_is_kept(root, tmp_path, decoded, caplog):
    settings = CacheSettings(tmp_path / "cache", max_bytes=10_000)
    check(root, read_all(root, settings))
    assert stored_bytes(settings.folder) < 12_000  # with tables
    kept = 12 - (len(decoded) - 12)
    assert 0 < kept < 12
    assert "holds all that it may: " in caplog.text
    assert caplog.text.count("\n") == 1


def test_data_that_was_not_used_for_longest_goes_first(tmp_path, root, caplog):
    others = [make_tree(tmp_path / name, {"train": 4}) for name in ("first", "second")]
    settings = CacheSettings(tmp_path / "cache")
    for number, other in enumerate(others):
        read_all(other, settings)
        os.utime(entries(settings.folder)[-1].folder, (1e9 + number, 1e9 + number))
    settings = CacheSettings(tmp_path / "cache", max_bytes=stored_bytes(settings.folder) + 15_000)
    caplog.set_level("INFO")
    check(root, read_all(root, settings))
    assert [entry.root for entry in entries(settings.folder)] == [str(others[1]), str(root)]
    assert re.search(f"removed the pictures, .* px of {others[0]}, not used since 2001-09-09", caplog.text)


def test_a_folder_that_cannot_be(root, tmp_path, caplog):
    (tmp_path / "taken").write_text("")
    check(root, read_all(root, CacheSettings(tmp_path / "taken" / "cache")))
    assert "cannot be used (Not a directory): pictures are decoded in every epoch." in caplog.text


def test_a_cache_that_is_removed_meanwhile(root, settings):
    images = scan_folder(root).split("train")
    source = cached_pixels(images, SMALL, settings, range(12))
    shutil.rmtree(settings.folder)
    check(root, {images.paths[index]: source.read(index) for index in range(12)})


def test_a_picture_that_broke_since_the_scan_is_named(root, settings):
    images = scan_folder(root).split("train")
    (root / "train" / "red" / "red_1.jpg").write_bytes(b"no picture")
    for source in (lambda: cached_pixels(images, SMALL, settings, range(12)), lambda: Pixels(images).read(9)):
        with pytest.raises(UserError, match=r"red_1.jpg: not an image: restore or remove it"):
            source()


def test_results_come_in_order_and_errors_come_out():
    assert list(cache.in_parallel(lambda number: number * 2, range(50))) == list(range(0, 100, 2))
    with pytest.raises(ZeroDivisionError):
        list(cache.in_parallel(lambda number: 1 / (number - 7), range(50)))
