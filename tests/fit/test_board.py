"""What a run leaves for TensorBoard, read as TensorBoard reads it."""

import io

import numpy as np
import pytest
from helpers import COLORS, QUICK
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dogbreed import compose, fit_run


def board_of(run_dir):
    """Read all event files of a run."""
    folder = next((run_dir / "tensorboard").rglob("*tfevents*")).parent
    board = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    board.Reload()
    return board


def pixels_of(board, tag):
    (image,) = board.Images(tag)
    with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_final_numbers_and_pictures(finished_run):
    board = board_of(finished_run.run_dir)
    assert {"pictures/train", "confusion/val", "confusion/test"} == set(board.Tags()["images"])
    for name in ("val/ece", "test/acc_top1", "test/loss", "train/loss"):
        (event,) = board.Scalars(f"final/{name}")
        assert event.value == pytest.approx(finished_run.metrics[name], abs=1e-5)
        assert event.step == 12
    sheet = pixels_of(board, "pictures/train")
    hues = [(np.abs(sheet - np.array(color)).max(axis=2) < 60).sum() for color in COLORS.values()]
    assert sorted(hues)[-2] > 5000  # eight pictures of at least two classes, some brighter or darker than they were
    assert pixels_of(board, "confusion/test").min() < 200


def test_a_run_without_a_board_draws_nothing(tree, tmp_path):
    result = fit_run(compose([*QUICK, "data=folder", f"data.root='{tree}'"]), tmp_path / "run")
    assert not (result.run_dir / "tensorboard").exists()
