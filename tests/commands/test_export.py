"""`python -m dogbreed.export`: what it prints, and what it refuses."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def model(finished_run, tmp_path):
    """A model folder of one's own, beside which exports/ may appear."""
    folder = tmp_path / "run" / "model"
    folder.parent.mkdir()
    folder.symlink_to(finished_run.model_dir)
    return folder


def test_files_and_a_card_beside_the_model_folder(cli, model):
    answer = cli("export", model.parent, "--format", "TorchScript", "--card")
    assert answer.code == 0, answer.err
    first, second = answer.out.splitlines()
    folder = model.parent / "exports"
    assert first.startswith(f"torchscript  {folder / 'model.torchscript'}  ")
    assert "MB, verified: 1 picture and 4 of noise, within " in first
    assert second.split() == ["card", str(folder / "README.md")]
    assert {path.name for path in folder.iterdir()} == {"model.torchscript", "README.md"}
    before = (folder / "README.md").stat().st_mtime_ns
    answer = cli("export", model.parent, "--card")
    assert answer.code == 2
    assert answer.err == (
        f"Error: {folder / 'README.md'} exists already: add --force to replace it, or choose another place "
        "with --output.\n"
    )
    assert (folder / "README.md").stat().st_mtime_ns == before
    assert cli("export", model.parent, "--card", "--force").code == 0
    assert (folder / "README.md").stat().st_mtime_ns > before


def test_a_card_goes_where_it_is_told_to(cli, model, tmp_path):
    assert cli("export", model, "--format", "card", "--output", "CARD.md").code == 0
    assert (tmp_path / "CARD.md").read_text().startswith("---\n")
    assert not (model.parent / "exports").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Nothing to write: give --format and one or more of onnx, torchscript, pt2, card."),
        (["--format", "onxx"], "--format onxx is unknown. Did you mean onnx? Valid: onnx, torchscript, pt2, card."),
        (["--format", "tflite8"], "--format tflite8 is unknown. Valid: card, onnx, pt2, torchscript."),
        (["--format", "onnx", "--opset", "17"], "--opset 17 cannot be written: choose 18 to 25."),
        (["--format", "onnx,pt2", "--output", "x.onnx"], "name a folder that is there for 2 files."),
        (["--format", "onnx", "--output", "no/x.onnx"], "--output no/x.onnx: no does not exist."),
        (["--format", "onnx", "--output", "x.pt2"], "ends as pt2 does, and --format is onnx: change one of them."),
        (["--format", "pt2", "--pictures", "nowhere"], "--pictures nowhere does not exist."),
        (["--format", "pt2", "--pictures", "texts"], "--pictures texts: there is no picture that can be read."),
        (["--card", "--mistakes"], "mistakes.png is not there: leave out --mistakes."),
    ],
)  # fmt: skip
def test_refused_in_one_sentence(arguments, words, cli, model, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jpg").write_text("no picture")
    answer = cli("export", model, *arguments)
    assert answer.code == 2
    assert answer.err.endswith(f"{words}\n")
    assert answer.err.count("\n") == 1
    left = [path.name for folder in (model.parent, tmp_path) for path in folder.rglob("*") if "model." in path.name]
    assert not left


def test_a_folder_that_is_no_model(cli, tmp_path):
    answer = cli("export", tmp_path, "--format", "onnx")
    assert answer.code == 2
    assert "is neither a run folder nor a model folder" in answer.err


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that nobody, not even root, can write")
def test_a_folder_that_cannot_be_written(cli, model):
    answer = cli("export", model, "--card", "--output", "/sys/README.md")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "cannot be written" in answer.err
    assert "--output FILE" in answer.err


def test_a_place_that_cannot_be_a_folder(cli, model):
    (model.parent / "exports").write_text("in the way")
    answer = cli("export", model, "--card")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "choose another place, --output FILE" in answer.err


def test_a_missing_extra(cli, model, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("dogbreed.exporting.formats.find_spec", lambda name: None if "onnx" in name else find(name))
    answer = cli("export", model, "--format", "onnx")
    assert answer.code == 2
    assert answer.err == ("Error: --format onnx needs onnx, onnxscript, onnxruntime: pip install 'dogbreed[export]'.\n")
    assert cli("export", model, "--card").code == 0  # which needs none of them


@pytest.mark.slow
def test_nothing_of_training_is_loaded():
    code = """
import sys
import dogbreed.exporting.writing, dogbreed.exporting.card
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"lightning", "hydra", "omegaconf", "smdebug", "onnx", "onnxscript"}, loaded
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
