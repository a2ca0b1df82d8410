"""How a command's process ends: with what Python does at its end, but without taking everything apart."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time
from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError

class Garbage:
    def __del__(self):
        sys.stdout.write("taken apart")

left = Garbage()

def work():
    file = threading.Thread(target=lambda: (time.sleep(0.3), print("a thread", end=" ")))
    file.start()
    atexit.register(print, "what was registered", end=" ")
    print("the work", end=" ")
    {last}

def main():
    try:
        run_command(work)
    finally:
        print("what comes after", end=" ")

run_program(main)
"""
DONE = "the work what comes after a thread what was registered "


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        ("return 0", 0, ""),
        ("return 3", 3, ""),
        ("raise UserError('data.root=x does not exist: name another.')", 2, "Error: data.root=x does not exist: name"),
        ("raise KeyboardInterrupt", 130, "Interrupted."),
        ("raise ValueError('ours')", 1, "Traceback (most recent call last)"),
    ],
)
def test_a_process_ends_as_python_would_but_at_once(last, code, said):
    program = [sys.executable, "-c", PROGRAM.replace("{last}", last)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, DONE)
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


def test_what_is_no_exit_ends_it_as_it_always_does():
    program = "from dogbreed.command import run_program\nimport sys\nrun_program(lambda: sys.exit('a sentence'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "a sentence\n")
    program = "from dogbreed.command import run_program\nrun_program(lambda: 1 / 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
