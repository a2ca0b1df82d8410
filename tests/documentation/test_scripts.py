"""The scripts on the how-to pages do what the pages say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import make_tree

from dogbreed.diagnosis.observations import EpochEnd, StepLoss

DOCS = Path(__file__).resolve().parents[2] / "docs"


def scripts_of(page):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), flags=re.M | re.S)


def rule_of(script, name):
    names = {"__name__": "my_rules"}
    exec(script, names)  # the page's own
    return names[name]


def test_the_first_rule_fires_above_its_limit():
    rule = rule_of(scripts_of("rule")[0], "LossAbove")(limit=5)
    assert rule.look(StepLoss(1, 4.9)) is None
    assert rule.look(StepLoss(2, 5.5)).evidence == "the loss is 5.5"


def test_the_rule_that_remembers_goes_on_where_it_was():
    def fed(rule, values):
        return [rule.look(EpochEnd(step, step, {"val/f1_macro": value})) for step, value in values]

    kind = rule_of(scripts_of("rule")[1], "NoBetterF1")
    values = list(enumerate([0.5, 0.6, 0.6, 0.5, 0.59], start=1))
    whole = fed(kind(), values)
    assert [found is not None for found in whole] == [False, False, False, False, True]
    first, second = kind(), kind()
    fed(first, values[:4])
    second.load_state(json.loads(json.dumps(first.state())))
    assert fed(second, values[4:]) == whole[4:]


@pytest.mark.slow
def test_a_network_that_one_wrote_trains_and_answers(tmp_path):
    (script,) = scripts_of("backbone")
    make_tree(tmp_path / "photos", {"train": 8, "valid": 3, "test": 4})
    short = ("trainer=debug", "data.batch_size=4", "data.num_workers=0", "model.input_size_px=32", "report=false")
    more = ", ".join(f'"{word}"' for word in short)
    script = script.replace('"data.root=photos"]', f'"data.root=photos", {more}]')
    script += '\nfrom dogbreed import load_model\nprint(load_model(result.model_dir).predict(["photos/test/red"])[0])\n'
    script = script.replace('"photos/test/red"', '"photos/test/red/red_0.jpg"')
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Prediction(labels=(" in done.stdout
