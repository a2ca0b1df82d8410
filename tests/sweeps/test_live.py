"""What a search shows: lines for a file, a table in place for a terminal."""

import io
import logging
import re
import sys

import pytest

from dogbreed.sweeps.live import LiveTable, hush_job, quiet_trials


class Terminal(io.StringIO):
    """A terminal that knows two commands: up so many lines, and clear from there."""

    def isatty(self):
        return True

    def screen(self):
        lines = [""]
        for part in re.split(r"(\x1b\[\d*[AJm]|\n)", self.getvalue()):
            if found := re.fullmatch(r"\x1b\[(\d*)([AJm])", part):
                if found[2] == "A":
                    row = len(lines) - 1 - int(found[1])
                    assert row >= 0, "above the screen"
                    lines = [*lines[:row], ""]  # what follows is cleared next
            elif part == "\n":
                lines.append("")
            else:
                lines[-1] += part
        return "\n".join(lines)


def row(number, value, state="completed", **more):
    return {"number": number, "values": [value], "state": state, "params": {"optim.lr": 0.001234567, "kind": None}} | {
        "seconds": 2.0,
        "issues": [],
        "reason": None,
        "error": None,
        **more,
    }


def test_a_line_a_trial_where_nobody_looks():
    stream = io.StringIO()
    table = LiveTable(3, ["val/acc_top1"], ["max"], stream)
    for one in (row(0, 0.5), row(1, 0.7), row(2, None, "failed", error="No\nroom.")):
        table.began(one["number"], one["params"])
        table.ended(one)
    table.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "trial 0 (1/3)  val/acc_top1 0.5  optim.lr=0.001235 kind=null  2.0 s  best 0.5 (trial 0)"
    assert lines[1].endswith("best 0.7 (trial 1)")
    assert "failed: No room." in lines[2]
    assert "best 0.7 (trial 1)" in lines[2]
    assert len(lines) == 3


def test_a_table_is_redrawn_in_place():
    terminal = Terminal()
    table = LiveTable(10, ["val/loss"], ["min"], terminal)
    table.known([row(0, 0.9), row(1, 0.2, "pruned", reason="Behind.")])
    for number in range(2, 9):
        table.began(number, {"optim.lr": 0.5})
        table.say(f"a warning of trial {number}")
        table.ended(row(number, number / 10))
    table.began(9, {"optim.lr": 0.25})
    screen = terminal.screen()
    assert screen.count("trial  val/loss") == 1
    assert [f"a warning of trial {number}" in screen for number in range(2, 9)] == [True] * 7
    assert "9 of 10 trials, 1 pruned, about" in screen
    table_lines = screen[screen.index("trial  val/loss") :].splitlines()
    assert [line.split()[0] for line in table_lines[2:7]] == ["2", "3", "4", "5", "6"]
    assert "optim.lr=0.25" in table_lines[-1]
    assert "running" in table_lines[-1]
    table.close()
    assert "trial  val/loss" not in terminal.screen()


def test_a_narrow_terminal_wraps_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    terminal = Terminal()
    table = LiveTable(None, ["val/acc_top1"], ["max"], terminal)
    for number in range(20):
        table.ended(row(number, 0.5))
    lines = terminal.screen().splitlines()
    assert len(lines) <= 8
    assert max(map(len, lines)) < 40
    table.close()


@pytest.fixture
def console():
    """A root logger with a console as Hydra sets one up for a job."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = before
    root.setLevel(level)


def set_up_job(root):
    root.handlers[:] = [logging.StreamHandler(sys.stdout)]
    root.setLevel(logging.INFO)
    hush_job()


def test_trials_are_quiet_but_for_warnings(console, capsys):
    with quiet_trials():
        set_up_job(console)
        logging.getLogger("dogbreed.x").info("epoch 1")
        logging.getLogger("dogbreed.x").warning("careful")
    set_up_job(console)
    logging.getLogger("dogbreed.x").info("afterwards")
    assert capsys.readouterr().out == "careful\nafterwards\n"


def test_what_trials_print_goes_above_the_table(console, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    table = LiveTable(2, ["val/acc_top1"], ["max"])
    table.began(0, {"seed": 1})
    with quiet_trials():
        set_up_job(console)
        logging.getLogger("dogbreed.x").warning("careful")
        sys.stderr.write("Error: half a ")
        sys.stderr.write("line\n")
        assert not sys.stderr.isatty()  # a bar would be drawn into the table
    assert sys.stdout is terminal
    assert console.handlers[0].stream is terminal
    lines = terminal.screen().splitlines()
    assert lines[:2] == ["careful", "Error: half a line"]
    assert sum("running" in line for line in lines) == 1
    table.close()
