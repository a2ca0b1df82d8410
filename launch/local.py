"""``launch=local``: a job's bundle through Amazon's training toolkit in a process here, without an account."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError
from dogbreed.files import user_cache_dir
from dogbreed.lock import take_lock
from dogbreed.run_files import RUN_LOCK
from launch.toolkit.environment import pip_settings, toolkit_python
from launch.toolkit.layout import lay_out
from launch.toolkit.process import ToolkitProcess, start

# Critical only: what else it has to say, a dump of all variables, is about itself; a failure is in its failure file.
_TOOLKIT_LOG_LEVEL = 50
# After Ctrl-C, to end the step and write the checkpoint.
SAVE_S = 120.0


def run_locally(
    request: Mapping[str, Any],
    sourcedir: Path,
    channels: Mapping[str, Path],
    run_dir: Path,
    *,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run a job here; what it writes is in the run folder, as if the run had been started here.

    Ctrl-C saves a checkpoint and ends the run, which the same command then goes on with.

    Args:
        request: CreateTrainingJob's, for one machine. What is only SageMaker's (addresses, role, checkpoints in S3)
            is not used.
        sourcedir: The bundle, sourcedir.tar.gz.
        channels: A folder or file of this machine for each of the request's channels.
        run_dir: The run folder; made if it is not there.
        say: Told each line; None writes to standard output.

    Raises:
        UserError: the job has failed, in its own sentence, or it cannot be run here.
        KeyboardInterrupt: it was interrupted; says how it goes on.
    """
    say = say or _print
    request = _for_here(request, sourcedir)
    python = toolkit_python(say)
    run_dir.mkdir(parents=True, exist_ok=True)
    # The search for an interrupted run has left its lock to us; now it is the job's.
    take_lock(run_dir / RUN_LOCK).release()
    base = Path(tempfile.mkdtemp(prefix="dogbreed_job_"))
    try:
        lay_out(request, base, channels=channels)
        (base / "output" / "data" / "run").symlink_to(run_dir.absolute(), target_is_directory=True)
        say(f"local   {sourcedir.name} in Amazon's training toolkit on this machine; run folder {run_dir}")
        environment = {"DOGBREED_CACHE": str(user_cache_dir().absolute()), **pip_settings(sourcedir)}
        process = start(base, request, python, environment=environment)
        code = _follow(process, say)
        if code:
            raise UserError(_reason(process, code))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _for_here(request: Mapping[str, Any], sourcedir: Path) -> dict[str, Any]:
    """Leave out what there is only in SageMaker, and put in what is elsewhere here."""
    count = int((request.get("ResourceConfig") or {}).get("InstanceCount") or 1)
    if count > 1:
        msg = f"launch.instance_count={count} with launch=local: this is one machine; leave launch.instance_count out."
        raise UserError(msg)
    left_out = ("CheckpointConfig", "DebugHookConfig", "ResourceConfig")
    here = {name: value for name, value in request.items() if name not in left_out}
    given = dict(request.get("HyperParameters") or {})
    # The run starts its own processes, as many as it wants, as it does without a job; torchrun would count the GPUs.
    given.pop("sagemaker_torch_distributed_enabled", None)
    here["HyperParameters"] = {
        **given,
        "sagemaker_submit_directory": json.dumps(str(sourcedir.absolute())),
        "sagemaker_container_log_level": json.dumps(_TOOLKIT_LOG_LEVEL),
    }
    # pip says of each library that it is there already.
    here["Environment"] = {"PIP_QUIET": "1", **(request.get("Environment") or {})}
    return here


def _follow(process: ToolkitProcess, say: Callable[[str], None]) -> int:
    """Pass the lines on until the end; return the exit code.

    Raises:
        KeyboardInterrupt: as Ctrl-C, after the job has saved itself; a second one does not wait for that.
    """
    try:
        for line in process.lines():
            say(line)
        return process.wait()
    except KeyboardInterrupt:
        process.interrupt()
        for line in process.lines():
            say(line)
        process.wait(SAVE_S)
        msg = "The same command goes on from the last checkpoint."
        raise KeyboardInterrupt(msg) from None
    finally:
        process.kill()  # nothing of it outlives us, whatever happens


def _reason(process: ToolkitProcess, code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return process.failure or f"The job {how} and left no reason; its last lines are above."


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
