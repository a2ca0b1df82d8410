"""``python -m launch.standin``, as it is typed."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_command_prints_what_to_export_and_ends_by_ctrl_c():
    command = [sys.executable, "-m", "launch.standin", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        exported = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("exp"))
        listing = subprocess.run(
            [sys.executable, "-m", "launch.jobs", "list"], env=os.environ | exported, capture_output=True, text=True
        )
        assert (listing.returncode, listing.stdout) == (0, "us-east-1 has no jobs of ours.\n"), listing.stderr
        process.send_signal(2)
        assert process.wait(20) == 130


def test_a_command_runs_in_it_and_its_code_is_the_end():
    script = '"$0" -m launch.jobs list; kill -INT $PPID; sleep 0.2; exit 3'
    command = [sys.executable, "-m", "launch.standin", "--port", "0", "bash", "-c", script, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "us-east-1 has no jobs of ours.\n", "")
    unknown = subprocess.run([*command[:5], "no-such-command"], capture_output=True, text=True)
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "Error: no-such-command cannot be run: No such file or directory.\n",
    )
