"""Tab in a shell completes groups, options and keys; Hydra does it, for the installed command."""

import os
import subprocess
import sys
from pathlib import Path

TYPED = """
eval "$(dogbreed-train -sc install=bash)"
COMP_LINE="$0" COMP_POINT=${#0}; COMP_WORDS=($0); COMP_CWORD=1
hydra_bash_completion
echo "${COMPREPLY[@]}"
"""


def bash(script, *words):
    place = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", script, *words], env=place, capture_output=True, text=True)


def test_tab_completes_what_one_types():
    done = bash(TYPED, "dogbreed-train model=mob")
    assert done.stdout.split() == ["model=mobilenetv2", "model=mobilenetv3_large", "model=mobilenetv3_small"], (
        done.stderr
    )


def test_a_reader_that_goes_away_is_no_error():
    done = bash("dogbreed-train -sc install=bash | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")
