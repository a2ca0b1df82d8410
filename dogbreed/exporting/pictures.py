"""Real pictures to verify an export with: the model folder's example, and a few that the run or the user knows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from torch import Tensor

from dogbreed.data.decode import BadImageError, decode_image
from dogbreed.data.preprocess import Preprocessing
from dogbreed.errors import UserError
from dogbreed.files import read_csv
from dogbreed.run_files import PREDICTIONS_CSV

MAX_PICTURES = 32


def real_views(model_dir: Path, preprocessing: Preprocessing, given: Path | None = None) -> list[Tensor]:
    """Return crops of the example and of up to 32 more pictures, spread over all that there are.

    Args:
        model_dir: The model folder; beside it, in a run folder, is a list of the pictures that it was measured on.
        preprocessing: Of the model.
        given: A folder of pictures, or one, instead of the run's.

    Raises:
        UserError: what is given does not exist, or holds no picture.
    """
    files = list(_pictures_in(given)) if given else _pictures_of_run(model_dir)
    views = [view for file in _spread(files) if (view := _view(file, preprocessing)) is not None]
    if given and not views:
        msg = f"--pictures {given}: there is no picture that can be read."
        raise UserError(msg)
    example = _view(model_dir / "example.jpg", preprocessing)
    return views if example is None else [example, *views]


def _spread(files: Sequence[Path]) -> list[Path]:
    step = max(1, -(-len(files) // MAX_PICTURES))
    return list(files[::step])


def _view(file: Path, preprocessing: Preprocessing) -> Tensor | None:
    try:
        return preprocessing.center_crop(decode_image(file))
    except BadImageError:
        return None


def _pictures_in(path: Path) -> Iterator[Path]:
    if not path.exists():
        msg = f"--pictures {path} does not exist."
        raise UserError(msg)
    if not path.is_dir():
        yield path
    for parent, folders, files in os.walk(path):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        yield from (Path(parent) / file for file in sorted(files) if not file.startswith("."))


def _pictures_of_run(model_dir: Path) -> list[Path]:
    """Return validation and test pictures where they are still where they were; nothing here is needed."""
    try:
        config = yaml.safe_load((model_dir / "training_config.yaml").read_text(encoding="utf-8"))
        root = Path(config["data"]["root"])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []
    files = [row.get("file") for row in read_csv(model_dir.parent / PREDICTIONS_CSV)]
    return [path for file in files if file and (path := root / file).is_file()]
