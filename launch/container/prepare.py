"""What has to be there before the trainer is imported: libraries, weights, places; nothing here needs a library."""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dogbreed.errors import UserError
from launch.container.job import Job

# The hook's package, and what it needs and does not say. With their own needs they would bring a protobuf that the
# container's toolkit cannot work with; dogbreed.diagnosis.smdebug_compat does without the rest.
SMDEBUG = ("smdebug==1.0.34", "psutil", "pandas", "requests")


def prepare(job: Job) -> None:
    """Install what travels as a channel and say where things are, before anything else is imported.

    Args:
        job: This one.

    Raises:
        UserError: the wheels do not fit this machine.
    """
    # The disk of the machine is below /opt/ml; home is on the container's own, which is small.
    os.environ.setdefault("DOGBREED_CACHE", str(job.base / "cache"))
    # With a requirements.txt the toolkit has installed them already (PIP_NO_INDEX, PIP_FIND_LINKS).
    if "wheels" in job.channels and not (job.base / "code" / "requirements.txt").exists():
        _once(job, "wheels", lambda: _install_wheels(job.channels["wheels"]))
    if "pretrained" in job.channels:
        _show_pretrained(job.channels["pretrained"])
    if len(job.hosts) > 1 and job.network_interface in {name for _, name in socket.if_nameindex()}:
        # What is not gradients goes by gloo, which would ask the name of the host for the way.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", job.network_interface)


def install_smdebug(job: Job) -> None:
    """Install what the hook of SageMaker Debugger needs, unless it is there; not by requirements.txt: see `SMDEBUG`.

    Raises:
        UserError: it cannot be had.
    """

    def install() -> None:
        missing = [name for name in SMDEBUG if importlib.util.find_spec(name.partition("==")[0]) is None]
        if missing:
            wheels = job.channels.get("wheels")
            source = ["--no-index", "--find-links", str(wheels)] if wheels else []
            _pip("--no-deps", *source, *missing, what="diagnose/hook=smdebug")

    _once(job, "smdebug", install)


def _install_wheels(folder: Path) -> None:
    listed = folder / "requirements.txt"
    if listed.is_file():
        _pip("--no-index", "--find-links", str(folder), "-r", str(listed), what="launch.network_isolation")
        return
    wheels = sorted(str(file) for file in folder.glob("*.whl"))
    if wheels:
        _pip("--no-index", "--no-deps", *wheels, what="launch.network_isolation")


def _show_pretrained(folder: Path) -> None:
    """Have weights found in the channel, which is laid out as the hub's cache (``hub/``) and ours (``weights/``)."""
    os.environ["HF_HUB_CACHE"] = str(folder / "hub" if (folder / "hub").is_dir() else folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    ours = Path(os.environ["DOGBREED_CACHE"]).expanduser() / "weights"
    ours.mkdir(parents=True, exist_ok=True)
    for file in (folder / "weights").glob("*"):
        try:
            (ours / file.name).symlink_to(file)
        except FileExistsError:  # by another rank of this machine
            continue


def _pip(*words: str, what: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our words
    sys.stderr.write(done.stderr)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or ["ERROR: no word of why"]
        msg = f"{what}: pip cannot install what the job needs ({errors[-1].removeprefix('ERROR:').strip()})."
        raise UserError(msg)
    importlib.invalidate_caches()


def _once(job: Job, name: str, install: Callable[[], None]) -> None:
    """Do it in the first of this machine's ranks; the others wait."""
    with (job.base / f".dogbreed_{name}").open("a+", encoding="utf-8") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        stamp.seek(0)
        if stamp.read() != "done":
            install()
            stamp.write("done")
    importlib.invalidate_caches()
