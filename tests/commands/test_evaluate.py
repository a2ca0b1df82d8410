"""`python -m dogbreed.evaluate`."""

import csv
import json
import re
import shutil

import pytest
from helpers import COLORS, QUICK, make_tree, save_picture


@pytest.fixture
def run_dir(finished_run, tmp_path):
    """A copy: evaluating writes beside the model folder."""
    return shutil.copytree(finished_run.run_dir, tmp_path / "run")


def test_the_test_split_again_gives_the_same_numbers(cli, run_dir, finished_run):
    answer = cli("evaluate", f"run={run_dir}", "split=test")
    assert answer.code == 0, answer.err
    (folder,) = (run_dir / "evaluations").iterdir()
    assert re.search(r"^results (.*)$", answer.out, flags=re.M)[1] == str(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == {key: value for key, value in finished_run.metrics.items() if key.startswith("test/")}
    assert {"test/ece", "test/ece_uncalibrated", "test/loss"} <= metrics.keys()
    for table in ("predictions", "classes", "confusion"):
        with (folder / f"{table}.csv").open(newline="") as stream:
            again = list(csv.DictReader(stream))
        with (run_dir / f"{table}.csv").open(newline="") as stream:
            assert [row for row in csv.DictReader(stream) if row["split"] == "test"] == again
    assert "weakest classes" in answer.out
    # The default split is test, another call another folder.
    assert cli("evaluate", f"run={run_dir / 'model'}").code == 0
    assert len(list((run_dir / "evaluations").iterdir())) == 2


def test_train_split_and_other_pictures(cli, run_dir, tmp_path):
    assert cli("evaluate", f"run={run_dir}", "split=train").code == 0
    other = make_tree(tmp_path / "other", {"": 5})
    shutil.rmtree(other / "red")
    answer = cli("evaluate", f"run={run_dir}", f"data_root={other}", "batch_size=2")
    assert answer.code == 0, answer.err
    assert re.search(r"^test +10 ", answer.out, flags=re.M)


def test_the_split_is_the_runs_however_the_folder_has_grown(cli, tmp_path):
    root = make_tree(tmp_path / "pictures", {"": 20})
    assert cli("train", *QUICK, f"data.root={root}", "hydra.run.dir=run").code == 0
    with (tmp_path / "run" / "splits.csv").open(newline="") as stream:
        trained = {row["path"] for row in csv.DictReader(stream) if row["split"] == "train"}
    for name in COLORS:
        for number in range(30):
            save_picture(root / name / f"new_{number}.jpg", COLORS[name], 1000 + number)
    answer = cli("evaluate", "run=run", "split=test")
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "run" / "evaluations").iterdir()
    with (folder / "predictions.csv").open(newline="") as stream:
        files = {row["file"] for row in csv.DictReader(stream)}
    assert len(files) == 9
    assert not files & trained
    assert not any("new_" in file for file in files)


def test_wrong_words(cli, run_dir, tmp_path):
    strange = make_tree(tmp_path / "strange", {"": 2})
    (strange / "red").rename(strange / "violet")
    for words, match in (
        ([], r"run must be given: add run=RUN_FOLDER"),
        (["run=nowhere"], r"nowhere does not exist: give a run folder or a model folder"),
        ([str(run_dir)], r"is no KEY=VALUE: write run=/"),
        ([f"run={tmp_path}"], r"holds several runs|neither a run folder nor a model folder|give one of them"),
        ([f"run={run_dir}", "split=dev"], r"has no dev split; it has train, valid, test"),
        ([f"run={run_dir}", f"data_root={tmp_path / 'gone'}"], r"gone is not a folder"),
        ([f"run={run_dir}", f"data_root={strange}"], r"violet"),
        ([f"run={run_dir}", "accelerator=tpu"], r"accelerator=tpu is unknown"),
        ([f"run={run_dir}", "batch_size=0"], r"batch_size=0"),
        ([f"run={run_dir}", "batch_size=abc"], r"batch_size=abc must be a whole number or null"),
        ([f"run={run_dir}", "num_workers=2.5"], r"num_workers=2.5 must be a whole number"),
        ([f"run={run_dir}", "splitt=test"], r"splitt does not exist. Did you mean split"),
    ):
        answer = cli("evaluate", *words)
        assert answer.code == 2, (words, answer)
        assert re.search(match, answer.err), (words, answer.err)
        assert answer.err.count("\n") == 1, answer.err


def test_a_damaged_model_is_refused(cli, run_dir):
    weights = run_dir / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    answer = cli("evaluate", f"run={run_dir}")
    assert answer.code == 2
    assert "its checksum differs" in answer.err


def test_help(cli):
    answer = cli("evaluate", "--help")
    assert answer.code == 0
    assert "run=RUN_FOLDER" in answer.out
