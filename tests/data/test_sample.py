"""The built-in cartoon dogs: real files, deterministic, whole or not at all."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dogbreed import UserError
from dogbreed.data.sample import SampleSource
from dogbreed.data.sample.breeds import BREEDS
from dogbreed.data.sample.source import KINDS, _draw_size
from dogbreed.data.scan import scan_folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_it_is_a_data_set_and_always_the_same(tmp_path):
    first = SampleSource(6, 1, 2, folder=str(tmp_path / "a")).prepare()
    again = SampleSource(6, 1, 2, folder=str(tmp_path / "b")).prepare()
    assert digests(first) == digests(again)
    assert len(set(digests(first).values())) == 9 * len(BREEDS)
    index = scan_folder(first)
    assert index.counts() == {"train": 72, "valid": 12, "test": 24}
    assert len(index.class_names) >= 10
    assert not index.report.warnings()


def test_files_are_of_many_kinds(tmp_path):
    root = SampleSource(25, 1, 1, folder=str(tmp_path / "a")).prepare()
    kinds, sizes = set(), []
    for file in root.rglob("*.*"):
        with Image.open(file) as image:
            kinds.add((image.format, image.mode))
            sizes.append(max(image.size))
            if image.getexif().get(0x0112, 1) != 1:
                kinds.add("exif")
    assert {("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), "exif"} <= kinds
    assert len(kinds) >= len(KINDS)
    assert min(sizes) >= 200
    assert 800 < max(sizes) <= 1600


def test_sizes_are_in_range():
    rng = np.random.default_rng(0)
    sizes = np.array([_draw_size(rng, 1600) for _ in range(3000)])
    assert sizes.min() == 200
    assert 1500 < sizes.max() <= 1600


def test_two_at_once_draw_once(tmp_path):
    target = tmp_path / "a"
    source = SampleSource(2, 1, 1, folder=str(target))
    inodes = []

    def prepare():
        source.prepare()
        inodes.append(target.stat().st_ino)

    threads = [threading.Thread(target=prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(inodes)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".a.lock"}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written.*DOGBREED_CACHE"):
        SampleSource(1, 1, 1, folder=str(tmp_path / "file" / "sample")).prepare()
    with pytest.raises(UserError, match="data.source.num_valid=0"):
        SampleSource(1, 0, 1)
