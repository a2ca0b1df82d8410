"""Answers in the form that the client accepts."""

import csv
import io
import json
import pickle

import pytest

from dogbreed.loaded_model import Prediction
from dogbreed.serving.answers import Answer, Explanation, choose_type, write_answers, write_error
from dogbreed.serving.errors import RequestError
from dogbreed.serving.pictures import Crop

PREDICTION = Prediction(("Affenpinscher", 'a "b", c'), (0.75, 0.25), 0.5, unlike_training_data=False)
EXPLANATION = Explanation("Affenpinscher", ((0.123456789, 1.0), (0.0, 0.5)), Crop(0.0625, 0.0, 0.875, 1.0))
BAD = RequestError(400, "The picture is empty.")


def json_of(*answers, is_single=False, accept=""):
    body, content_type = write_answers(answers, accept, is_single)
    assert content_type == "application/json"
    return json.loads(body)


def test_one_picture_is_an_object_as_predict_has_it():
    assert (
        json_of(Answer(PREDICTION), is_single=True)
        == PREDICTION.to_dict()
        == {
            "label": "Affenpinscher",
            "probability": 0.75,
            "top": [{"label": "Affenpinscher", "probability": 0.75}, {"label": 'a "b", c', "probability": 0.25}],
            "familiarity": 0.5,
            "unlike_training_data": False,
        }
    )


def test_many_are_a_list_in_which_errors_have_their_places():
    found = json_of(Answer(PREDICTION), BAD, Answer(PREDICTION))
    assert found == {"predictions": [PREDICTION.to_dict(), {"error": "The picture is empty."}, PREDICTION.to_dict()]}
    assert json_of(BAD) == {"predictions": [{"error": "The picture is empty."}]}
    with pytest.raises(RequestError, match="empty"):
        write_answers([BAD], "", True)


def test_explanations():
    found = json_of(Answer(PREDICTION, EXPLANATION, is_explained=True), is_single=True)
    assert found["explanation"] == {
        "label": "Affenpinscher",
        "grid": [[0.1235, 1.0], [0.0, 0.5]],
        "crop": {"left": 0.0625, "top": 0.0, "width": 0.875, "height": 1.0},
    }
    assert json_of(Answer(PREDICTION, is_explained=True), is_single=True)["explanation"] is None
    assert "explanation" not in json_of(Answer(PREDICTION), is_single=True)


def test_an_answer_of_a_batch_is_cut_to_what_was_asked_for():
    made = Answer(PREDICTION, EXPLANATION, is_explained=True)
    assert made.cut(9, explain=True) == made
    assert made.cut(1, explain=False).to_dict() == Answer(Prediction(("Affenpinscher",), (0.75,), 0.5)).to_dict()


def test_csv():
    body, content_type = write_answers([Answer(PREDICTION), BAD], "text/csv", False)
    assert content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert body.decode().splitlines()[0] == "picture,rank,label,probability,familiarity,unlike_training_data"
    assert [list(row.values()) for row in rows] == [
        ["0", "1", "Affenpinscher", "0.75", "0.5", "false"],
        ["0", "2", 'a "b", c', "0.25", "0.5", "false"],
        ["1", "0", "The picture is empty.", "", "", ""],
    ]
    unknown = Answer(Prediction(("a",), (1.0,), None, unlike_training_data=True))
    assert write_answers([unknown], "text/csv", True)[0].decode().splitlines()[1] == "0,1,a,1.0,,true"


def test_class_names_that_are_no_unicode():
    answer = Answer(Prediction(("caf\udce9",), (1.0,)))
    assert json.loads(write_answers([answer], "", True)[0])["label"] == "caf\udce9"
    assert r"0,1,caf\udce9,1.0,,false" in write_answers([answer], "text/csv", True)[0].decode()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/*", "application/json"),
        ("application/json;q=0.4, text/csv;q=0.5", "text/csv"),
        ("text/csv;q=0.5,*/*;q=0.1", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("*/*;q=nonsense, text/csv", "text/csv"),
        ("text/csv;q=7, application/json", "application/json"),
    ],
)
def test_accept(accept, expected):
    assert choose_type(accept) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/*", "application/json;q=0", "json", ",,;", "a" * 100_000, "q=1"]
)
def test_nothing_acceptable(accept):
    with pytest.raises(RequestError) as caught:
        choose_type(accept)
    assert caught.value.status == 406


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(BAD))
    assert (error.status, error.sentence, str(error)) == (400, BAD.sentence, BAD.sentence)
    assert write_error(error) == (b'{"error":"The picture is empty."}', "application/json")
