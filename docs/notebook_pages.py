"""Run the notebooks, and keep what came of them as pages: ``python -m docs.notebook_pages [FOLDER]``.

Each runs in an empty folder with this environment's Python. Pictures become WebP files; a page that a notebook shows in
a frame becomes a photograph of it, taken by Chromium. Without a folder they are run, and nothing is kept.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from docs.chromium import chromium

TOP = Path(__file__).resolve().parents[1]
NOTEBOOKS = TOP / "notebooks"
TIMEOUT_S = 900
FRAME = re.compile(r'<iframe[^>]*\bsrc="([^"]+)"', flags=re.S)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STANDIN = re.compile(r"/\S*/standin-\w+")
# What pip says in a job, of this machine's packages.
PIP = re.compile(r"^(Looking in|Requirement already|Collecting|Downloading|Using cached|Installing coll|\[notice)")
# A traceback, or the sentence with which our commands end.
FAILURE = re.compile(r"^(Traceback \(most recent|Error: |Interrupted\.)|command not found", flags=re.M)
MAX_LINES = 60
WIDTH_PX, QUALITY = 1000, 80


def run(path: Path, folder: Path) -> Any:
    """Run a notebook in a folder; return it with its outputs.

    Raises:
        CellExecutionError: a cell has failed.
        RuntimeError: a command that a cell types has failed.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    # Cells that type "python" mean this one, and its commands' output is for a page.
    words = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "TERM": "dumb"}
    client = NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | words)
    refuse_failures(notebook)
    return notebook


def refuse_failures(notebook: Any) -> None:
    """See that no command of a ``!`` line has failed, of which Jupyter says nothing.

    Raises:
        RuntimeError: one has, with what it printed.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and FAILURE.search(output.text):
                msg = f"a command has failed:\n{output.text}"
                raise RuntimeError(msg)


def render(notebook: Any, name: str, scratch: Path, folder: Path) -> None:
    """Write a page and its pictures.

    Args:
        notebook: With outputs.
        name: Of the page.
        scratch: Where the notebook ran: its frames' pages are below it.
        folder: Where the page goes.
    """
    parts: list[str] = []
    pictures = folder / name
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.iterdir():
        old.unlink()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        kind = "ipython3" if re.search(r"^[!%]", cell.source, flags=re.M) else "python"
        parts.append(f"```{kind}\n{cell.source}\n```")
        parts += _outputs(cell.outputs, pictures, scratch)
    where = f"*[{name}.ipynb](../../notebooks/{name}.ipynb), as it ran; `make notebooks` runs it again.*"
    head, _, rest = "\n\n".join(parts).partition("\n")
    (folder / f"{name}.md").write_text(f"{head}\n\n{where}\n{rest}\n", encoding="utf-8")


def _outputs(outputs: Iterable[Any], pictures: Path, scratch: Path) -> Iterable[str]:
    for output in _joined(outputs):
        data = output.get("data", {})
        frame = FRAME.search(data.get("text/html", ""))
        if output.output_type == "stream":
            yield f"```text\n{_plain(output.text, scratch)}\n```"
        elif frame:
            yield _picture(_photograph(scratch / frame[1]), pictures, f"the top of {Path(frame[1]).name}")
        elif "image/png" in data:
            yield _picture(base64.b64decode(data["image/png"]), pictures, "what the cell draws")
        elif "text/plain" in data:
            yield f"```text\n{_plain(data['text/plain'], scratch)}\n```"


def _joined(outputs: Iterable[Any]) -> Iterable[Any]:
    """Put what was printed in several turns into one; warnings of libraries are left out."""
    printed: Any = None
    for output in outputs:
        if output.output_type != "stream":
            yield from (printed,) if printed else ()
            printed = None
            yield output
        elif output.name == "stdout":
            printed = nbformat.from_dict({**output, "text": (printed.text if printed else "") + output.text})
    yield from (printed,) if printed else ()


def _plain(text: str, scratch: Path) -> str:
    """Take out what a terminal does, where this machine keeps things, and the middle of what is long."""
    lines = [ANSI.sub("", line).rpartition("\r")[2].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    lines = [line for line in "\n".join(lines).strip("\n").split("\n") if not PIP.match(line)]
    if len(lines) > MAX_LINES:
        half = MAX_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]
    text = "\n".join(lines).replace(str(scratch), ".").replace(sys.prefix, "…/python").replace(str(Path.home()), "~")
    return STANDIN.sub("…/standin", text)


def _picture(png: bytes, pictures: Path, words: str) -> str:
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((WIDTH_PX, 4 * WIDTH_PX))
    name = f"{len(list(pictures.iterdir())) + 1}.webp"
    picture.save(pictures / name, quality=QUALITY, method=6)
    return f"![{words}]({pictures.name}/{name})"


def _photograph(page: Path) -> bytes:
    """Take a picture of the top of a page, as a PNG."""
    with chromium() as browser:
        view = browser.new_page(viewport={"width": 1100, "height": 900})
        view.goto(page.as_uri())
        return view.screenshot()


def main() -> int:
    """Run all of them; return 1 if one has failed."""
    folder = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    failed = 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory(prefix="notebook-") as scratch:
            try:
                notebook = run(path, Path(scratch))
            except (CellExecutionError, RuntimeError) as error:
                sys.stderr.write(f"{path.name}: {error}\n")
                failed = 1
                continue
            if folder:
                render(notebook, path.stem, Path(scratch).resolve(), folder)
        sys.stdout.write(f"{path.name}  runs from top to bottom\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
