"""A model of no size, and a server that tests share which change nothing about it."""

import pytest
from helpers import COLORS, save_picture
from servers import make_model, serving

from dogbreed import load_model


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A model folder."""
    return make_model(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Nine JPEGs of three colours."""
    folder = tmp_path_factory.mktemp("sent")
    colors = enumerate([*COLORS.values()] * 3)
    return [save_picture(folder / f"{number}.jpg", color, number, (64 + number, 50)) for number, color in colors]


@pytest.fixture(scope="session")
def expected(small_model, pictures):
    """Label and probability that each of the pictures must get."""
    answers = load_model(small_model).predict(pictures)
    return [(answer.labels[0], answer.probabilities[0]) for answer in answers]


@pytest.fixture(scope="module")
def server(small_model, tmp_path_factory):
    """A server."""
    with serving(small_model, tmp_path_factory.mktemp("server"), "--access-log") as running:
        yield running
