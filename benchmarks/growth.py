"""What a data set's size changes: images/s and memory for 1,000, 10,000 and 100,000 files.

The files are links to a hundred pictures: what grows is the number of names, entries and pixels, not the disk.
Each size is a process of its own, one thread, no loader processes; the first epoch decodes, later ones cut what it
has kept.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.commands import TOP
from benchmarks.memory import own_bytes
from benchmarks.record import Row

SIZES = (1_000, 10_000, 100_000)
NUM_PICTURES, NUM_CLASSES, SIDE_PX = 100, 10, 72
# Images/s against the smallest size.
SLOWER = 0.9
# Memory a file against the size before.
MORE = 1.1


def run() -> list[Row]:
    """Measure each size beside the smallest."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        pictures = _draw(Path(scratch, "pictures"))
        for count in SIZES:
            root = _link(pictures, Path(scratch, str(count)), count)
            command = [sys.executable, "-m", "benchmarks.growth", str(root), str(Path(scratch, f"cache {count}"))]
            done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
            found[count] = json.loads(done.stdout.splitlines()[-1])
            print(f"  {count} files: {found[count]}", flush=True)
    smallest = found[SIZES[0]]
    rows = []
    for count in SIZES[1:]:
        for what in ("first", "later"):
            case = f"{count} files of {SIDE_PX} px, {what} epoch, one thread"
            peer = f"{SIZES[0]} files"
            rows.append(Row("growth", case, found[count][what], peer, smallest[what], "images/s", SLOWER))
    for fewer, count in itertools.pairwise(SIZES):
        ours, peer = (found[size]["bytes"] / size for size in (count, fewer))
        case = f"{count} files, most memory of its own while it trains, a file"
        rows.append(Row("growth", case, ours, f"{fewer} files", peer, "B", MORE, "max"))
    return rows


def _draw(folder: Path) -> list[Path]:
    folder.mkdir()
    generator = np.random.default_rng(0)
    files = []
    for number in range(NUM_PICTURES):
        small = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        files.append(folder / f"{number}.jpg")
        picture.save(files[-1], quality=90)
    return files


def _link(pictures: list[Path], root: Path, count: int) -> Path:
    for number in range(count):
        # As many of each class in valid as it takes for there to be a split.
        split = "valid" if number < NUM_CLASSES else "train"
        folder = root / split / f"class {number % NUM_CLASSES}"
        if number < 2 * NUM_CLASSES:
            folder.mkdir(parents=True)
        os.link(pictures[number % NUM_PICTURES], folder / f"picture {number:06}.jpg")
    return root


# -- two epochs in a process of its own ---------------------------------------


def main(root: str, cache: str) -> None:
    import torch

    from dogbreed import AugmentSettings, ImageDataModule
    from dogbreed.data import cache as pixels
    from dogbreed.data.preprocess import Preprocessing

    torch.set_num_threads(1)
    pixels.num_cpus = lambda: 1
    preprocessing = Preprocessing(input_size_px=56, resize_px=64)
    data = ImageDataModule(root, augment=AugmentSettings(), preprocessing=preprocessing, cache=cache)
    before = own_bytes()
    most, speeds = 0, {}
    for when in ("first", "later"):
        started, count = time.perf_counter(), 0
        if when == "first":
            data.setup("fit")
        for number, batch in enumerate(data.train_dataloader()):
            count += len(batch.images)
            if number % 50 == 0:
                most = max(most, own_bytes())
        speeds[when] = round(count / (time.perf_counter() - started), 1)
    print(json.dumps({**speeds, "bytes": most - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
