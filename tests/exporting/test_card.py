"""The model card: the hub can read it, people can use it, and its code runs as it stands."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import rows_of
from huggingface_hub import ModelCard

from dogbreed import UserError, load_model
from dogbreed.exporting.card import render_card, write_card

DOCS = Path(__file__).resolve().parents[2] / "docs" / "serving_export.md"
EVIL = "<script>alert(1)</script>|**b** `c`\n# d"


def code_of(card, number):
    return re.findall(r"^```python\n(.*?)^```", card.read_text(encoding="utf-8"), flags=re.M | re.S)[number]


def test_the_hub_can_read_it(everything, finished_run):
    card = ModelCard.load(everything.card)
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "dogbreed"
    assert card.data.license is None
    assert everything.card.read_text().startswith("---\n# license: ")
    results = {(item.dataset_split, item.metric_name): item.metric_value for item in card.data.eval_results}
    assert results["test", "accuracy"] == pytest.approx(finished_run.metrics["test/acc_top1"], abs=1e-4)
    assert results["validation", "calibration error"] == pytest.approx(finished_run.metrics["val/ece"], abs=1e-4)
    assert {item.dataset_name for item in card.data.eval_results} == {"colours"}


def test_it_says_what_was_measured(everything, finished_run):
    text = everything.card.read_text()
    for row in rows_of(finished_run.run_dir / "classes.csv"):
        if row["split"] == "test":
            assert f"| {row['class']} | 4 | " in text
    assert "trained with dogbreed on colours (24 pictures)" in text
    assert "| fine-tuning | full |" in text
    assert "24 training pictures" in text
    assert "no picture is ever marked" in text  # with nine validation pictures
    assert str(finished_run.run_dir.parent) not in text  # no path of this machine


@pytest.mark.parametrize("page", ["card", "docs"])
def test_the_onnx_code_answers_without_us(page, everything, finished_run, tree, tmp_path):
    """With nothing but ONNX Runtime, NumPy and Pillow, for a photograph as a camera leaves it."""
    photo = tree / "test" / "red" / "red_1.jpg"
    shutil.copy(photo, tmp_path / "photo.jpg")
    shutil.copy(everything.exported["onnx"].file, tmp_path / "model.onnx")
    lines = code_of(everything.card, 1) if page == "card" else code_of(DOCS, 0)
    code = lines + "import sys\nprint({'torch', 'dogbreed', 'onnx', 'timm'} & set(sys.modules))\n"
    process = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    answer, imported = process.stdout.splitlines()
    assert imported == "set()"
    label, probability = answer.split()
    (expected,) = load_model(finished_run.model_dir).predict([photo])
    assert label == expected.labels[0]
    # Pillow rounds some pixels otherwise than torch.
    assert float(probability) == pytest.approx(expected.probabilities[0], abs=0.01)


def test_our_own_code_answers(everything, finished_run, tree, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished_run.model_dir, tmp_path / "model")
    photo = shutil.copy(tree / "test" / "blue" / "blue_2.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(code_of(everything.card, 0), {})
    (expected,) = load_model(finished_run.model_dir).predict([photo])
    assert capsys.readouterr().out == f"{expected.labels[0]} {expected.probabilities[0]} False\n"


def test_charts_yes_photographs_only_when_asked_for(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run.run_dir, run)
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        (run / name).write_bytes(b"a chart")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    written = write_card(run / "model", tmp_path / "a" / "README.md")
    assert [path.name for path in written] == ["README.md", "curves.png", "confusion.png"]
    text = written[0].read_text()
    assert "(curves.png)" in text
    assert "mistakes.png" not in text
    written = write_card(run / "model", tmp_path / "b" / "README.md", with_mistakes=True)
    assert written[-1].read_bytes() == b"a chart"
    assert "(mistakes.png)" in written[0].read_text()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"README.md", "curves.png", "confusion.png"}
    # In the run folder itself nothing is copied onto itself.
    write_card(run / "model", run / "README.md")
    assert (run / "curves.png").read_bytes() == b"a chart"
    (run / "mistakes.png").unlink()
    with pytest.raises(UserError, match=r"mistakes\.png is not there: leave out --mistakes"):
        write_card(run / "model", tmp_path / "b" / "README.md", with_mistakes=True)


def test_a_lone_model_folder_with_names_that_nobody_should_have(finished_run, tmp_path):
    folder = tmp_path / "lone"
    folder.mkdir()
    info = json.loads((finished_run.model_dir / "model.json").read_text())
    info |= {"class_names": [EVIL, "caf\udce9", "plain"], "metrics": {"val/acc_top1": None}, "familiarity": None}
    (folder / "model.json").write_text(json.dumps(info))
    (folder / "training_config.yaml").write_text("a: [not yaml")
    text = render_card(folder)
    card = ModelCard(text)
    assert card.data.eval_results is None
    assert "Nothing was measured." in text
    assert "This model cannot tell." in text
    assert "<script>" not in text.replace("\\<script", "")
    assert "\n# d" not in text
    assert text.count("\n# ") == 1 + 2  # its title, and comments in the front matter
    text.encode()


def test_a_damaged_folder_is_told(tmp_path):
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        render_card(tmp_path)
