"""What a page says first, as text."""

import json

from made_up_run import write_big_run

from dogbreed.reporting import summarise


def test_outcome_curves_and_the_worst_findings_with_advice(tmp_path):
    write_big_run(tmp_path / "run")
    first, curves, *findings, last = summarise(tmp_path / "run").splitlines()
    assert first.startswith("84.0 % of test pictures right.")
    assert curves.startswith("Overfitting:")
    assert [line.split(" ")[0] for line in findings] == ["overfit", "mine", "dataloader"]
    assert all(line.endswith(" Do.") and "first in step 20" in line for line in findings)
    assert last == "1 rule found nothing wrong."


def test_more_findings_than_are_shown(tmp_path):
    write_big_run(tmp_path / "run")
    file = tmp_path / "run" / "diagnosis.json"
    more = [{"name": f"mine{number}", "verdict": "issue", "evidence": "e", "advice": "Do."} for number in range(5)]
    file.write_text(json.dumps([*json.loads(file.read_text()), *more]))
    assert summarise(tmp_path / "run").splitlines()[-1] == "1 rule found nothing wrong, 5 more something."


def test_a_run_that_has_left_next_to_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"state": "failed", "error": "No pictures."}')
    assert summarise(tmp_path / "run") == "Failed. No pictures."
