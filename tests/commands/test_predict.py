"""`python -m dogbreed.predict`."""

import json
import shutil

import pytest
from helpers import save_picture


def test_pictures_and_folders_for_people(cli, finished_run, tree):
    picture = tree / "test" / "red" / "red_0.jpg"
    answer = cli("predict", finished_run.run_dir, picture, tree / "valid", "--top-k", 2)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith(f"{picture}  ")
    assert lines[0].count("%") == 2


def test_json_says_what_training_wrote_down(cli, finished_run, tree):
    answer = cli("predict", finished_run.model_dir, tree / "test", "--json", "--batch-size", 5)
    answers = json.loads(answer.out)
    assert [item["file"] for item in answers] == sorted(item["file"] for item in answers)
    right = [item["label"] == item["file"].rsplit("/", 2)[1] for item in answers]
    assert sum(right) / 12 == pytest.approx(finished_run.metrics["test/acc_top1"])
    first = answers[0]
    assert set(first) == {"file", "label", "probability", "top", "familiarity", "unlike_training_data"}
    assert 0.1 <= first["familiarity"] <= 1  # nine validation pictures: one in ten at the least
    assert first["unlike_training_data"] is False
    assert first["top"][0]["label"] == first["label"]
    assert sum(item["probability"] for item in first["top"]) == pytest.approx(1)  # 3 classes, top 5 asked for
    probabilities = [item["probability"] for item in first["top"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_the_example_of_the_model_folder(cli, finished_run):
    expected = json.loads((finished_run.model_dir / "example.json").read_text())
    (answer,) = json.loads(cli("predict", finished_run.run_dir, finished_run.model_dir / "example.jpg", "--json").out)
    assert answer["label"] == expected["label"]
    assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-4)


def test_people_are_told_of_what_is_unlike_the_training_data(cli, finished_run, tree, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(finished_run.model_dir, folder)
    info = json.loads((folder / "model.json").read_text())
    info["familiarity"]["unlike_below"] = 1.01
    (folder / "model.json").write_text(json.dumps(info))
    picture = tree / "test" / "red" / "red_0.jpg"
    assert cli("predict", folder, picture).out.rstrip().endswith("%  (unlike the training data)")
    assert "unlike" not in cli("predict", finished_run.model_dir, picture).out


def test_a_file_that_is_no_picture_does_not_stop_the_others(cli, finished_run, tmp_path):
    save_picture(tmp_path / "in" / "a.png", (200, 20, 20), 1)
    (tmp_path / "in" / "b.jpg").write_text("not a picture")
    (tmp_path / "in" / ".hidden").write_text("")
    answer = cli("predict", finished_run.run_dir, tmp_path / "in")
    assert answer.code == 2
    assert len(answer.out.splitlines()) == 1
    assert answer.err.startswith(f"Error: {tmp_path}/in/b.jpg: ")
    answers = json.loads(cli("predict", finished_run.run_dir, tmp_path / "in", "--json").out)
    assert "label" in answers[0]
    assert set(answers[1]) == {"file", "error"}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["{run}", "nowhere.jpg"], "nowhere.jpg does not exist"),
        (["{run}", "{empty}"], "No files in"),
        (["nowhere", "{picture}"], "nowhere does not exist: give a run folder or a model folder"),
        (["{empty}", "{picture}"], "neither a run folder nor a model folder"),
        (["{run}", "{picture}", "--top-k", "0"], "--top-k 0 must be at least 1"),
        (["{run}", "{picture}", "--batch-size", "0"], "--batch-size 0 must be at least 1"),
        (["{run}"], "required: PICTURE_OR_FOLDER"),
    ],
)
def test_wrong_words(cli, finished_run, tree, tmp_path, words, match):
    (tmp_path / "empty").mkdir()
    places = {"run": finished_run.run_dir, "empty": tmp_path / "empty", "picture": tree / "test/red/red_0.jpg"}
    answer = cli("predict", *(word.format(**places) for word in words))
    assert answer.code == 2
    assert match in answer.err
    assert "Traceback" not in answer.err
