"""README's five minutes and the notebooks, from top to bottom, nothing made shorter: what `make tour` runs."""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from test_readme import BLOCK, TOUR

from docs import notebook_pages
from docs.tour_picture import served

HERE, SAGEMAKER = (block for kind, block in BLOCK.findall(TOUR) if kind == "bash")
SERVE = re.compile(r"^python -m dogbreed\.serve (\S+).*\n", flags=re.M)
PLACE = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def typed(where, *words, script):
    done = subprocess.run([*words, "bash", "-euc", script], cwd=where, env=PLACE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_minutes_here(tmp_path):
    (model,) = SERVE.findall(HERE)
    assert "report  comparison.html" in typed(tmp_path, script=SERVE.sub("", HERE))
    with served(tmp_path / model) as address, urllib.request.urlopen(f"{address}/", timeout=30) as page:
        assert b"<title>" in page.read()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_minutes_on_sagemaker(tmp_path):
    said = typed(tmp_path, sys.executable, "-m", "launch.standin", "--port", "0", script=SAGEMAKER)
    for words in ("CreateTrainingJob", "endpoint        dogs, InService", "removed endpoint dogs"):
        assert words in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", sorted(notebook_pages.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    notebook = notebook_pages.run(path, tmp_path)
    notebook_pages.render(notebook, path.stem, tmp_path, tmp_path)
    assert (tmp_path / f"{path.stem}.md").stat().st_size > 3000
    assert list((tmp_path / path.stem).glob("*.webp"))


@pytest.mark.parametrize("path", sorted(notebook_pages.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_its_page_is_its_own(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    page = (notebook_pages.TOP / "docs" / "notebooks" / f"{path.stem}.md").read_text(encoding="utf-8")
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        first, _, rest = cell.source.partition("\n")
        assert first in page, "make notebooks writes the pages anew"
        assert rest.strip("\n") in page, "make notebooks writes the pages anew"
    # Of the machine on which it ran nothing is told.
    assert not re.search(r"file://|/simple\b|site-packages|/(home|root|Users|tmp)/", page)


@pytest.mark.parametrize("said", ["a line\nError: There is no such folder.\n", "Traceback (most recent call last):\n"])
def test_a_command_that_fails_within_a_notebook_is_noticed(said):
    cell = nbformat.v4.new_code_cell("!python", outputs=[nbformat.v4.new_output("stream", text=said)])
    with pytest.raises(RuntimeError, match="a command has failed"):
        notebook_pages.refuse_failures(nbformat.v4.new_notebook(cells=[cell]))
    cell.outputs[0].text = "issue   no Error: of ours\n"
    notebook_pages.refuse_failures(nbformat.v4.new_notebook(cells=[cell]))
