"""Pages of real runs, and of folders that something has happened to."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from helpers import compose_quick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tags import Tags

import dogbreed.reporting
from dogbreed import UserError, fit_run
from dogbreed.files import write_json
from dogbreed.reporting import write_report
from dogbreed.reporting.run import load_run

SECTIONS = (
    "findings",
    "curves",
    "rules",
    "steps",
    "phases",
    "operators",
    "machine",
    "classes",
    "mistakes",
    "calibration",
    "config",
)
READ = (
    *("run.json", "metrics.json", "metrics.csv", "steps.csv", "system.csv", "diagnosis.json", "classes.csv"),
    *("confusion.csv", "predictions.csv", "config.yaml"),
)


def page_of(folder):
    """Write and read a run's page; it must be whole and refer to nothing outside."""
    text = write_report(folder).read_bytes().decode()  # strict: what is no text must have been replaced
    tags = Tags(text)
    assert "script" not in tags.names
    assert all(address.startswith(("data:", "#")) for address in tags.addresses)
    assert "url(http" not in text
    assert set(SECTIONS) <= set(tags.ids)
    assert not re.search(r"#fe[0-9a-f]{2}01", text), "a colour that stands for another was left"
    words = " ".join(" ".join(tags.text).split())
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|\bTrue\b", words.split("The whole configuration")[0])
    return words


# -- whole runs --------------------------------------------------------------


def test_a_finished_run_has_its_page_already(finished_run):
    page = (finished_run.run_dir / "report.html").read_text()
    assert f"{100 * finished_run.metrics['test/acc_top1']:.1f}\u00a0% of test pictures right" in page
    assert page.count('<svg class="chart"') >= 8  # a run of a second may have no sample of the machine
    # As anybody who asks again gets it.
    assert "completed</span>" in page


def test_everything_of_a_run_is_on_its_page(finished_run):
    words = page_of(finished_run.run_dir)
    assert re.search(r"\d+ of \d+ found something|None of \d+ found something", words)
    assert "12 steps of" in words
    assert "diagnose.profile=true shows which operators" in words
    assert "trainer.max_epochs=4" not in words  # composed here, not by a command
    for name in ("blue", "green", "red"):
        assert name in words


def test_a_made_up_run_of_any_size_and_with_any_names(big_run):
    words = page_of(big_run)
    assert "84.0 % of test pictures right" in words
    assert "overfit costs accuracy" in words
    assert "void kernel<float, (Kind)0>()" in words
    assert "<script>document.title='broken'</script> \"quoted\" & 'more'" in words
    page = (big_run / "report.html").read_text()
    assert "caf�.jpg" in page
    assert page.count('<svg class="chart"') == 12
    assert "data:image/png;base64," in page
    assert (big_run / "report.html").stat().st_size < 400_000


# -- runs that are not over, or ended badly ----------------------------------


def test_a_run_that_failed(own_run):
    write_json(own_run / "run.json", {"state": "failed", "error": "The loss is no number."})
    for name in ("metrics.json", "classes.csv", "confusion.csv", "predictions.csv", "thumbs", "diagnosis.json"):
        shutil.rmtree(own_run / name, ignore_errors=True)
        (own_run / name).unlink(missing_ok=True)
    words = page_of(own_run)
    assert "Failed after epoch 4 of 4 The loss is no number." in words
    assert "No rules have looked at this run" in words
    assert "Classes are measured when training is over" in words


def test_a_run_that_is_interrupted(own_run):
    write_json(own_run / "run.json", {"state": "interrupted"})
    assert "The same command goes on from the last checkpoint" in page_of(own_run)


def test_a_run_that_has_just_begun(tmp_path):
    write_json(tmp_path / "run.json", {"state": "running"})
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 1, "host": "another machine"}))
    words = page_of(tmp_path)
    assert "Still running No epoch has finished yet" in words


def test_a_run_that_goes_on_and_one_that_was_killed(own_run, tmp_path):
    write_json(own_run / "run.json", {"state": "running"})
    (own_run / "metrics.json").unlink()
    lines = (own_run / "metrics.csv").read_text().splitlines()
    (own_run / "metrics.csv").write_text("\n".join(lines[:3]) + "\n")
    hold = (
        "import sys, pathlib; from dogbreed.lock import RunLock; "
        "lock = RunLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, own_run / "run.lock"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    assert "Still running: epoch 3 of 4" in page_of(own_run)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    words = page_of(own_run)
    assert "died" in words
    assert "Died in epoch 3 of 4" in words
    assert json.loads((own_run / "run.lock").read_text())["host"] == socket.gethostname()  # looking has changed nothing


def test_the_page_of_a_run_that_fails_is_written_by_the_run(tree, tmp_path):
    more = ("report=true", "diagnose.on_issue=fail", "diagnose.rules.weight_update_ratio.large_threshold=1e-30")
    with pytest.raises(UserError):
        fit_run(compose_quick(tree, *more, "diagnose.rules.weight_update_ratio.num_steps=1"), tmp_path / "run")
    assert "Failed" in (tmp_path / "run" / "report.html").read_text()


def test_a_run_that_was_refused_has_no_page(tree, tmp_path):
    with pytest.raises(UserError, match=r"data.batch_size=99 is larger"):
        fit_run(compose_quick(tree, "report=true", "data.batch_size=99"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_page_that_cannot_be_written_costs_a_warning(tree, tmp_path, monkeypatch, caplog):
    def fail(_):
        raise ZeroDivisionError("our bug")

    monkeypatch.setattr(dogbreed.reporting, "write_report", fail)
    result = fit_run(compose_quick(tree, "report=true", "trainer.max_epochs=1"), tmp_path / "run")
    assert result.metrics["val/loss"] > 0
    (warning,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("report")]
    assert "was not written (ZeroDivisionError: our bug); python -m dogbreed.report" in warning
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "completed"


def test_a_run_can_do_without(tree, tmp_path):
    fit_run(compose_quick(tree, "trainer.max_epochs=1"), tmp_path / "run")  # report=false
    assert not (tmp_path / "run" / "report.html").exists()


# -- damaged folders ---------------------------------------------------------


@pytest.mark.parametrize("name", [*READ, "thumbs", "profile", ".hydra"])
def test_what_is_missing_costs_its_own_section_only(own_run, name):
    shutil.rmtree(own_run / name, ignore_errors=True)
    (own_run / name).unlink(missing_ok=True)
    assert "Not everything in this folder can be read" not in page_of(own_run)


@pytest.mark.parametrize("name", [*READ, "thumbs/index.csv", "profile/operators.csv", ".hydra/overrides.yaml"])
@pytest.mark.parametrize("content", [b"\x00\xff\xfe\x80garbage\n\x00", b"", b"[[[["])
def test_what_is_damaged_is_named_and_the_page_opens(own_run, name, content):
    (own_run / name).parent.mkdir(exist_ok=True)
    (own_run / name).write_bytes(content)
    words = page_of(own_run)
    if content or name.endswith(".json"):  # a table of no rows is an empty file
        assert f"{name} cannot be read" in words


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_whatever_has_been_written_into_it(own_run, data):
    name = data.draw(st.sampled_from(READ))
    content = bytearray((own_run / name).read_bytes())
    try:
        for _ in range(data.draw(st.integers(1, 8))):
            at = data.draw(st.integers(0, max(len(content) - 1, 0)))
            content[at : at + data.draw(st.integers(0, 9))] = data.draw(
                st.sampled_from([b",", b"\n", b"", b'"', b"\xff", b"nan", b"-1e999", b"null", b"{", b"9" * 30, b"\x00"])
            )
        before = (own_run / name).read_bytes()
        (own_run / name).write_bytes(bytes(content))
        page_of_damaged = write_report(own_run).read_bytes().decode()
        assert "</html>" in page_of_damaged
    finally:
        (own_run / name).write_bytes(before)


def test_a_table_that_is_being_written_or_was_cut_short(own_run):
    steps = (own_run / "steps.csv").read_text()
    (own_run / "steps.csv").write_text(steps[:-20])
    assert "cannot be read" not in page_of(own_run)
    lines = steps.splitlines()
    (own_run / "steps.csv").write_text("\n".join([lines[0], "x,y,z", *lines[2:]]) + "\n")
    assert "steps.csv: 1 rows cannot be read and are left out." in page_of(own_run)


def test_thumbs_lie_in_their_folder_or_are_not_shown(own_run, tmp_path):
    (own_run / "thumbs").mkdir(exist_ok=True)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8\xff secret")
    (own_run / "thumbs" / "link.jpg").symlink_to(secret)
    (own_run / "thumbs" / "text.jpg").write_text("no picture")
    lines = ["thumb,split,file,label,predicted,probability"]
    lines += [f"{name},test,f,a,b,0.9" for name in ("../../secret.jpg", "link.jpg", "text.jpg", "gone.jpg", "..")]
    (own_run / "thumbs" / "index.csv").write_text("\n".join(lines))
    assert load_run(own_run).mistakes == ()
    assert "thumbs: 5 of 5 pictures cannot be read." in page_of(own_run)


def test_a_folder_that_cannot_be_read_at_all(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no run: name a folder"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"Nothing in .* can be read: run.json cannot be read: "):
        load_run(tmp_path)
