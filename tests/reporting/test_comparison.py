"""Pages that compare runs, and sweeps."""

import re

import pytest
from tags import Tags

from dogbreed import UserError
from dogbreed.files import write_json
from dogbreed.reporting import write_comparison, write_report


def test_runs_side_by_side(own_run, big_run, tmp_path):
    write_report(own_run)
    target = write_comparison([own_run, big_run], tmp_path / "page.html")
    text = target.read_text()
    tags = Tags(text)
    words = " ".join(" ".join(tags.text).split())
    assert "2 runs compared" in words
    assert "model.architecture" in words
    assert text.count('<svg class="chart"') == 2
    best = re.findall(r'class="num best">([^<]*)<', text)
    assert best
    assert "own/report.html" in tags.addresses


def test_the_best_of_each_column(tmp_path):
    for name, accuracy, loss in (("one", 0.9, 0.5), ("two", 0.8, 0.4), ("three", 0.9, 0.6)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "run.json", {"state": "completed"})
        write_json(tmp_path / name / "metrics.json", {"val/acc_top1": accuracy, "val/loss": loss, "val/f1_macro": 0.7})
    text = write_comparison([tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path / "c.html").read_text()
    assert re.findall(r'class="num best">([^<]*)<', text) == ["90.0\u00a0%", "0.4", "90.0\u00a0%"]
    assert "Best: <b>one</b>" in text
    assert "Their configurations are the same." in text


def test_many_runs_keep_eight_colours_for_the_best(tmp_path):
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / "metrics.json", {"val/acc_top1": number / 20})
        (tmp_path / str(number) / "metrics.csv").write_text(f"epoch,val/loss\n1,2\n2,{2 - number / 20}\n")
        (tmp_path / str(number) / "config.yaml").write_text(f"seed: {number}\n")
    text = write_comparison([tmp_path], tmp_path / "page.html").read_text()
    assert set(re.findall(r"--swatch: var\(--([\w-]+)\)", text)) == {
        "muted",
        *(f"series-{place}" for place in range(1, 9)),
    }


def test_comparing_needs_something_to_compare(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match="a sweep without a run that has begun"):
        write_comparison([tmp_path], tmp_path / "c.html")
    with pytest.raises(UserError, match="is no folder"):
        write_comparison([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run.json").write_text("{")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "run.json").write_text("{")
    with pytest.raises(UserError, match="None of the runs can be read"):
        write_comparison([tmp_path])
