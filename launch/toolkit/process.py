"""One machine of a training job: the toolkit's own ``train`` command, as a container runs it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launch.container.deliver import MAX_FAILURE_CHARS
from launch.toolkit.environment import toolkit_packages
from launch.toolkit.layout import MACHINE
from launch.toolkit.side_environment import make_environment, our_packages

ENTRY = "sm_entry.py"
_MARK = "DOGBREED_TOOLKIT_JOB"
# Nothing of the process that starts a job may leak into it: its modules, its place among ranks, another job's paths.
_FOREIGN = ("PYTHON", "SM_", "SAGEMAKER_", "TORCHELASTIC_", "PET_", "VIRTUAL_ENV", "HYDRA_", "DOGBREED_SUPERVISOR")
_RANK = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

# In a container `torchrun` finds the other machines by their names. Here all of them are this one, where nobody but
# root could say what algo-1 means, and where other jobs have taken port 7777.
_TORCHRUN = f'''import os, sys
from torch.distributed.run import main

places = {{"--master_addr": "127.0.0.1", "--master_port": os.environ["PET_MASTER_PORT"]}}
for place, word in enumerate(sys.argv[:-1]):
    if word == "{ENTRY}":
        break
    if word in places:
        sys.argv[place + 1] = places[word]
sys.exit(main())
'''


class ToolkitProcess:
    """A running ``train``, its process group, and whatever those have started.

    Args:
        process: The command, in a session of its own; its output is merged.
        base: The job's folder.
        mark: Value of a variable that all processes of the job have in their environment.
    """

    def __init__(self, process: subprocess.Popen[str], base: Path, mark: str) -> None:
        self.base = base
        self._process = process
        self._mark = f"{_MARK}={mark}".encode()

    @property
    def pid(self) -> int:
        """Number of the command's process."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """Yield what the job prints, line by line, as it comes; ends with the job."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\r\n")

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit code, negative for a signal.

        Raises:
            TimeoutError: it runs on.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def kill(self) -> None:
        """End all processes of the job at once (-9), as a machine that is taken away."""
        while True:
            members = self._members()
            for pid in members:
                _signal(pid, signal.SIGKILL)
            if not members:
                break
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> None:
        """Have the entry script save and end; the toolkit itself passes no signals on."""
        for pid in self._members():
            if _runs_entry(pid):
                _signal(pid, signal.SIGINT)

    @property
    def failure(self) -> str | None:
        """What DescribeTrainingJob would give as the reason; None where the job has not failed with one."""
        try:
            text = (self.base / "output" / "failure").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        return text[:MAX_FAILURE_CHARS]

    def _members(self) -> list[int]:
        """List the processes that live, of this job: torchrun and loaders leave the process group."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except (OSError, IndexError):  # gone, or somebody else's
                continue
            if self._mark in environment.split(b"\0") and state != "Z":
                found.append(int(folder.name))
        return found


def start(
    base: Path,
    request: Mapping[str, Any],
    python: Path,
    *,
    environment: Mapping[str, str] | None = None,
    master_port: int | None = None,
) -> ToolkitProcess:
    """Start the toolkit on a folder that `lay_out` has made.

    Each job has an environment of its own, made in no time, so that what its requirements install goes into it: the
    one of the toolkit and our own are only seen, never changed.

    Args:
        base: The job's folder.
        request: CreateTrainingJob's, for its environment variables; those that name /opt/ml mean ``base`` here.
        python: From `toolkit_python`.
        environment: More variables: where S3 is, say, and `pip_settings`.
        master_port: A free port, the same for all machines of a job; None where there is one machine.

    Returns:
        The process; it runs on until it ends or is killed.
    """
    machine = base / MACHINE
    (machine / "bin").mkdir(parents=True, exist_ok=True)
    own = make_environment(machine / "python", [toolkit_packages(python), our_packages()])
    _write_torchrun(own.parent)
    mark = secrets.token_hex(8)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    variables = {name: value for name, value in variables.items() if name not in _RANK}
    variables |= {
        "PATH": os.pathsep.join((str(machine / "bin"), str(own.parent), variables.get("PATH", os.defpath))),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",  # as Amazon's image sets it
        "TRAINING_JOB_NAME": str(request.get("TrainingJobName", "")),
        "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit does not wait for names of hosts
        "PYTHONUNBUFFERED": "1",  # as Amazon's image sets it
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PET_MASTER_PORT": str(master_port or free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
        _MARK: mark,
    }
    if (base / "input" / "config" / "debughookconfig.json").exists():
        variables["SMDEBUG_CONFIG_FILE_PATH"] = str(base / "input" / "config" / "debughookconfig.json")
    for name, value in (request.get("Environment") or {}).items():
        is_place = f"{value}/".startswith("/opt/ml/")
        variables[str(name)] = str(base) + str(value).removeprefix("/opt/ml") if is_place else str(value)
    process = subprocess.Popen(  # noqa: S603 -- our own words
        [str(own), "-P", "-m", "sagemaker_training.cli.train"],
        cwd=base,
        env={**variables, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    return ToolkitProcess(process, base, mark)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _write_torchrun(folder: Path) -> None:
    (folder / "torchrun.py").write_text(_TORCHRUN, encoding="utf-8")
    command = folder / "torchrun"
    command.write_text('#!/bin/sh\nhere=$(dirname "$0")\nexec "$here/python" "$here/torchrun.py" "$@"\n')
    command.chmod(0o755)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _runs_entry(pid: int) -> bool:
    """Say whether a process is the entry script itself, not the shell or torchrun that has started it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    script = next((word for word in words[1:] if word.endswith(b".py")), b"")
    return os.fsdecode(words[0]).rpartition("/")[2].startswith("python") and script == ENTRY.encode()
