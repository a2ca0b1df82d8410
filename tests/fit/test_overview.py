"""A data set, looked at before anything is trained on it."""

import numpy as np
import pytest
from helpers import make_tree
from matplotlib.text import Text

from dogbreed import UserError, compose, draw_pictures, prepare

SMALL = ("data=folder", "model=resnet18", "model.pretrained=false", "model.input_size_px=32", "data.batch_size=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = make_tree(tmp_path_factory.mktemp("photos"), {"train": 5, "valid": 1})
    return prepare(compose([*SMALL, f"data.root='{root}'"]))[0]


def captions(figure):
    return [text.get_text() for axis in figure.axes for text in axis.findobj(Text) if text.get_text()]


def pixels(figure):
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_each_class_in_turn(data):
    names = list(data.class_names)
    assert captions(draw_pictures(data, num_pictures=len(names) + 1)) == [*names, names[0]]
    assert len(pixels(draw_pictures(data, "valid", num_pictures=100))) == len(data.index.split("valid"))


def test_as_evaluated_and_as_trained_on(data):
    plain, again, varied = (
        pixels(draw_pictures(data, num_pictures=4, augmented=augmented)) for augmented in (False, False, True)
    )
    assert all(np.array_equal(one, other) for one, other in zip(plain, again, strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(plain, varied, strict=True))


def test_no_such_split(data):
    with pytest.raises(UserError, match="no test split"):
        draw_pictures(data, "test")


def test_the_table(data):
    head, _, *rows, last = data.index.class_table().splitlines()
    assert head.split() == ["class", "train", "valid"]
    assert [row.split()[0] for row in rows] == list(data.class_names)
    assert last.split() == ["all", *(str(count) for count in data.index.counts().values())]
