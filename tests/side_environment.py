"""Environments for what does not fit beside the rest: made once, kept in the user's cache folder, a few MB each.

They see the packages of the environment that runs the tests through a ``.pth`` file, and have others in front of them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from filelock import FileLock

# smdebug's own protobuf is older than today's TensorBoard takes; psutil it needs without saying so. pyinstrument, a
# C extension without wheels for which smdebug has no use any more, is left out: dogbreed does without.
OLD_PROTOBUF = ("smdebug==1.0.34", "protobuf==3.20.3", "tensorboard==2.20.0", "psutil==7.2.2")
# As in a container, beside the protobuf that is there.
NEW_PROTOBUF = ("smdebug==1.0.34", "psutil==7.2.2")


def side_python(packages: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment with these packages in front of ours, made if it is not there."""
    ours = sysconfig.get_path("purelib")
    key = hashlib.sha256("\n".join((sys.version, sys.executable, ours, *packages)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "dogbreed-tests" / f"side-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # several test processes come here at once
        if not folder.exists():
            _make(folder, ours, packages)
    return folder / "bin" / "python"


def _make(folder: Path, ours: str, packages: tuple[str, ...]) -> None:
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    try:
        venv.create(unfinished, symlinks=True)
        python = unfinished / "bin" / "python"
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = subprocess.run([python, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
        Path(own, "ours.pth").write_text(f"{ours}\n")
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*install, "--only-binary=:all:", "--disable-pip-version-check", *packages], capture_output=True, text=True
        )
        if done.returncode:
            msg = f"{' '.join(packages)} cannot be installed: {done.stderr.strip().splitlines()[-1]}"
            raise RuntimeError(msg)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


if __name__ == "__main__":
    for wanted in (OLD_PROTOBUF, NEW_PROTOBUF):
        print(side_python(wanted))
