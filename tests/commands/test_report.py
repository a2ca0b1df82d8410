"""`python -m dogbreed.report`."""

import re
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def run_dir(finished_run, tmp_path):
    return shutil.copytree(
        finished_run.run_dir, tmp_path / "NAME", ignore=shutil.ignore_patterns("checkpoints", "*.html")
    )


def test_a_run(cli, run_dir):
    answer = cli("report", "NAME")
    assert answer.code == 0, answer.err
    *said, where = answer.out.splitlines()
    assert where == "report  NAME/report.html"
    assert re.match(r"[\d.]+ % of test pictures right\. On test pictures ", said[0])
    assert said[0].partition(".")[0] in (run_dir / "report.html").read_text().replace("\u00a0", " ")
    assert re.match(r"\d+ rules found nothing wrong", said[-1])


def test_somewhere_else(cli, run_dir, tmp_path):
    assert cli("report", run_dir, "--out", "page.html").out.endswith("report  page.html\n")
    assert (tmp_path / "page.html").is_file()
    assert not (run_dir / "report.html").exists()


def test_several_runs(cli, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "OTHER")
    assert cli("report", "NAME", "OTHER").out == "report  comparison.html\n"
    assert "2 runs compared" in (tmp_path / "comparison.html").read_text()


def test_a_sweep(cli, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "sweep" / "0")
    assert cli("report", "sweep").out == "report  sweep/sweep.html\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "Error: nowhere is no folder: name one that python -m dogbreed.train has written.\n"),
        (["empty"], "Error: empty holds no run: name a folder that python -m dogbreed.train has written.\n"),
        (["empty", "empty"], "Error: empty holds no run: name a folder that python -m dogbreed.train has written.\n"),
        (
            ["broken"],
            "Error: Nothing in broken can be read: run.json cannot be read: "
            "Expecting value: line 1 column 1 (char 0).\n",
        ),
        (["broken", "--out", "empty"], "Error: --out empty is a folder: name a file in it.\n"),
        (["broken", "--out", "no/page.html"], "Error: --out no/page.html: no does not exist.\n"),
    ],
)
def test_one_sentence(cli, tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("?")
    answer = cli("report", *arguments)
    assert (answer.code, answer.err) == (2, sentence)


def test_it_loads_neither_torch_nor_hydra(run_dir):
    code = (
        "import sys; from dogbreed.report import report; report(sys.argv[1:]); "
        "print({name.split('.')[0] for name in sys.modules} & {'torch', 'hydra', 'omegaconf', 'lightning', 'timm'})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
