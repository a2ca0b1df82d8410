"""Write the cartoon dogs as image files of every common kind, once, under the user's cache folder."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from dogbreed.data.sample.breeds import BREEDS, Breed
from dogbreed.data.sample.drawing import draw_picture
from dogbreed.errors import UserError
from dogbreed.files import make_folder_once, user_cache_dir

# Raise it whenever the pictures change: a new version is a new folder.
VERSION = 1

KINDS = ("jpeg", "png", "exif", "grey", "cmyk", "palette")
KIND_SHARES = (0.84, 0.08, 0.03, 0.02, 0.015, 0.015)
EXIF_ORIENTATION = 0x0112
# The transposition that a viewer undoes by turning the stored picture as the tag says.
STORED_AS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


class _Task(NamedTuple):
    path: Path
    breed: Breed
    seed: int


class SampleSource:
    """Twelve cartoon breeds in the ImageFolder layout with train, valid and test.

    Deterministic: the same numbers give the same pictures.

    Args:
        num_train: Training pictures per breed, >= 1.
        num_valid: Validation pictures per breed, >= 1.
        num_test: Test pictures per breed, >= 1.
        folder: Another place than the user's cache folder.

    Raises:
        UserError: a number is below 1.
    """

    def __init__(self, num_train: int = 80, num_valid: int = 15, num_test: int = 20, folder: str | None = None) -> None:
        self.per_class = {"train": num_train, "valid": num_valid, "test": num_test}
        for split, count in self.per_class.items():
            if count < 1:
                msg = f"data.source.num_{split}={count} must be at least 1."
                raise UserError(msg)
        name = f"sample-v{VERSION}-{num_train}-{num_valid}-{num_test}"
        self.target = Path(folder).expanduser() if folder else user_cache_dir() / "data" / name

    def prepare(self) -> Path:
        """Draw the pictures unless they are there.

        Returns:
            Folder with ``train``, ``valid`` and ``test``.

        Raises:
            UserError: the folder cannot be written.
        """
        make_folder_once(
            self.target, self._fill, on_wait=lambda: tqdm.write("waiting for another process that draws the sample")
        )
        for split, count in self.per_class.items():
            found = self.target / split / BREEDS[0].name
            if not found.is_dir() or len(list(found.iterdir())) != count:
                msg = f"data.source.folder={self.target} holds something else than this sample: choose an empty folder."
                raise UserError(msg)
        return self.target

    def _fill(self, folder: Path) -> None:
        tasks = list(self._tasks(folder))
        for path in {task.path.parent for task in tasks}:
            path.mkdir(parents=True)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for _ in tqdm(pool.map(_write_picture, tasks), total=len(tasks), desc="draw the sample", disable=None):
                pass

    def _tasks(self, folder: Path) -> Iterator[_Task]:
        for split, count in self.per_class.items():
            for breed in BREEDS:
                for number in range(count):
                    name = f"{split}/{breed.name}/{breed.name}_{number:05d}"
                    yield _Task(folder / name, breed, zlib.crc32(name.encode()))


def _write_picture(task: _Task) -> None:
    rng = np.random.default_rng([VERSION, task.seed])
    kind = str(rng.choice(KINDS, p=KIND_SHARES))
    width_px, height_px = _draw_size(rng, largest_px=480 if kind in ("png", "palette") else 1600)
    picture = draw_picture(task.breed, rng, width_px, height_px)
    quality = int(rng.integers(75, 96))
    if kind == "png":
        picture.save(task.path.with_suffix(".png"), compress_level=3)
    elif kind == "palette":
        picture.quantize(64).save(task.path.with_suffix(".gif" if rng.random() < 0.5 else ".png"))
    elif kind == "exif":
        orientation = int(rng.choice(list(STORED_AS)))
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        picture.transpose(STORED_AS[orientation]).save(task.path.with_suffix(".jpg"), quality=quality, exif=exif)
    else:
        mode = {"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB")
        progressive = bool(rng.random() < 0.1)
        picture.convert(mode).save(task.path.with_suffix(".jpg"), quality=quality, progressive=progressive)


def _draw_size(rng: np.random.Generator, largest_px: int) -> tuple[int, int]:
    """Draw width and height: mostly small, some large, as in collections from the web."""
    low, high = ((200, 400), (400, 800), (800, 1600))[rng.choice(3, p=(0.80, 0.16, 0.04))]
    long_px = min(int(rng.integers(low, high + 1)), largest_px)
    short_px = max(200, round(long_px * rng.choice([0.75, 2 / 3, 1.0], p=[0.5, 0.1, 0.4])))
    return (long_px, short_px) if rng.random() < 0.85 else (short_px, long_px)
