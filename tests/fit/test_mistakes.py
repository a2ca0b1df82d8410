"""Small pictures and the sheet of the most confident mistakes; heat maps that can be read."""

import csv
import os

import numpy as np
import pytest
import torch
from helpers import save_picture
from PIL import Image

from dogbreed.fit.confusion import draw_confusion
from dogbreed.fit.evaluation import Mistake
from dogbreed.fit.figures import figure_pixels
from dogbreed.fit.mistakes import MAX_MISTAKES, show_mistakes, thumb_name


def mistake(path, probability=0.9, label="Beagle", predicted="Basset"):
    return Mistake("test", path.name, path, label, predicted, probability)


def has_color(pixels, color, tolerance=12):
    return int((np.abs(np.asarray(pixels).reshape(-1, 3).astype(int) - color).max(axis=1) < tolerance).sum())


@pytest.fixture
def photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Secret Camera"
    picture = Image.new("RGB", (400, 300), (20, 120, 220))
    picture.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def test_thumbs_are_small_upright_and_anonymous(photo, tmp_path):
    show_mistakes([mistake(photo, 0.987)], tmp_path / "thumbs", tmp_path / "mistakes.png")
    (thumb,) = (tmp_path / "thumbs").glob("*.jpg")
    assert thumb.name == "test_01_Beagle_as_Basset_0.99.jpg"
    assert b"Secret" not in thumb.read_bytes()
    with Image.open(thumb) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (120, 160))
        assert not picture.getexif()
    with (tmp_path / "thumbs" / "index.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    expected = {"thumb": thumb.name, "split": "test", "file": "photo.jpg", "label": "Beagle", "predicted": "Basset"}
    assert row == expected | {"probability": "0.987"}


def test_a_small_picture_is_not_blown_up(tmp_path):
    path = save_picture(tmp_path / "a.png", (200, 20, 20), 1, size=(48, 40))
    show_mistakes([mistake(path)], tmp_path / "thumbs", tmp_path / "mistakes.png")
    with Image.open(next((tmp_path / "thumbs").glob("*.jpg"))) as picture:
        assert picture.size == (48, 40)


def test_the_sheet_shows_every_picture(tmp_path):
    colors = [(200, 40, 40), (40, 160, 40), (40, 40, 200), (200, 180, 20), (20, 180, 180), (180, 20, 180), (90, 60, 30)]
    paths = [tmp_path / f"{number}.png" for number in range(len(colors))]
    for path, color in zip(paths, colors, strict=True):
        Image.new("RGB", (300, 200), color).save(path)
    show_mistakes([mistake(path) for path in paths], tmp_path / "thumbs", tmp_path / "mistakes.png")
    with Image.open(tmp_path / "mistakes.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    areas = [has_color(pixels, color) for color in colors]
    assert min(areas) > 10_000
    assert max(areas) < 1.1 * min(areas)


def test_only_so_many_and_old_ones_go(photo, tmp_path):
    place = (tmp_path / "thumbs", tmp_path / "mistakes.png")
    show_mistakes([mistake(photo)] * (MAX_MISTAKES + 3), *place)
    assert len(list(place[0].glob("*.jpg"))) == MAX_MISTAKES
    show_mistakes([mistake(photo)], *place)
    assert len(list(place[0].glob("*.jpg"))) == 1
    show_mistakes([], *place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg"]
    show_mistakes([], *place)  # nothing there before


def test_a_picture_that_has_gone_is_left_out(photo, tmp_path):
    show_mistakes([mistake(tmp_path / "gone.jpg"), mistake(photo)], tmp_path / "thumbs", tmp_path / "mistakes.png")
    assert len(list((tmp_path / "thumbs").glob("*.jpg"))) == 1


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a/b\\c:d", "a-b-c-d"),
        ("柴犬", "柴犬"),
        ("..", "class"),
        ("x y", "x-y"),
        (os.fsdecode(b"caf\xe9"), "caf"),
        ("犬" * 300, "犬" * 20),
    ],
)
def test_names_that_file_systems_do_not_like(photo, tmp_path, name, part):
    odd = mistake(photo, label=name, predicted=name)
    assert f"_{part}_as_{part}_" in thumb_name(1, odd)
    show_mistakes([odd], tmp_path / "thumbs", tmp_path / "mistakes.png")
    assert (tmp_path / "thumbs" / thumb_name(1, odd)).is_file()


def orange_cells(pixels):
    """Count pixels that are far more red than blue: colours of mistakes, never of greys."""
    values = np.asarray(pixels).astype(int)
    return int(((values[..., 0] - values[..., 2]) > 60).sum())


@pytest.mark.parametrize("num_classes", [2, 3, 20, 21, 60, 133])
def test_one_mistake_is_seen_among_any_number_of_classes(num_classes):
    names = tuple(f"{number:03d}.Some $breed$ {number}" for number in range(num_classes))
    confusion = torch.eye(num_classes, dtype=torch.int64) * 9
    assert orange_cells(figure_pixels(draw_confusion(confusion, names, "test"))) == 0
    confusion[0, 1] = 1
    pixels = figure_pixels(draw_confusion(confusion, names, "test"))
    assert orange_cells(pixels) > 25
    assert max(pixels.shape) < 2000
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all()  # nothing is cut off


def test_classes_without_pictures_and_odd_names():
    confusion = torch.tensor([[0, 0, 0], [2, 0, 1], [0, 0, 4]])
    assert figure_pixels(draw_confusion(confusion, ("$x", os.fsdecode(b"caf\xe9"), "柴犬"), "valid")).any()
