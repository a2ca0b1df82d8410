import subprocess
import sys

QUIETLY = """
import gc, sys
from dogbreed.imports import importing
try:
    with importing():
        assert not gc.isenabled()
        import decimal
        raise ImportError("nothing of that name")
except ImportError:
    pass
assert gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 1000
with importing():
    assert gc.isenabled()
assert gc.get_freeze_count() == frozen
"""


def test_the_collector_rests_once():
    subprocess.run([sys.executable, "-c", QUIETLY], check=True)


COMMAND = """
import gc, sys
from dogbreed.predict import main
try:
    main()
finally:
    print(gc.isenabled(), gc.get_freeze_count() > 200_000)
"""


def test_a_command_leaves_out_what_it_has_imported(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", COMMAND, tmp_path, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "True True\n"), done.stderr
    assert done.stderr.count("\n") == 1  # no extension complains of what was left
