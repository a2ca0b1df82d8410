"""Lines that come while a progress bar is drawn."""

import io
import logging
import subprocess
import sys

from tqdm import tqdm

from dogbreed.console import LinesAboveBars


def test_a_line_never_begins_behind_a_bar(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    log = logging.Logger("alone")
    log.addHandler(LinesAboveBars(terminal))
    with tqdm(total=4, file=terminal, leave=False, mininterval=0) as bar:
        bar.update()
        log.info("a line")
        bar.update()
    whole = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert whole[0] == "a line"
    assert "2/4" in whole[1] or "2/4" in terminal.getvalue().rpartition("a line")[2]


def test_it_loads_no_bar_by_itself():
    code = "import sys, logging; from dogbreed.console import LinesAboveBars as L; h = L(sys.stdout)\n"
    code += "h.emit(logging.makeLogRecord({'msg': 'a line'})); print('tqdm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a", "line", "False"]
