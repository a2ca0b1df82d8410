"""Runs the jobs of any Hydra application in processes, as a launcher's executor."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
from hydra.core.singleton import Singleton

from dogbreed.errors import UserError
from launch.executor import Limits, Outcome


class ProcessExecutor:
    """A process a job, which says in the file that ``JOB_TIMES`` names when it begins and ends."""

    def __init__(self, task_function):
        self._task_function = task_function

    def settle(self, jobs, asked):
        return Limits(asked.max_concurrent, asked.timeout_s, asked.poll_s or 0.02)

    def submit(self, job):
        file = job.run_dir / "task.pickle"
        parcel = (self._task_function, job.cfg, job.hydra_cfg, Singleton.get_state())
        file.write_bytes(cloudpickle.dumps(parcel))
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        child = subprocess.Popen([sys.executable, __file__, file], env={**os.environ, "PYTHONPATH": path})
        return ProcessHandle(child, file.with_name("task.result"))

    def wants_stop(self, jobs):
        return True


@dataclass
class ProcessHandle:
    child: subprocess.Popen
    result: Path
    phase: str = "Running"

    def poll(self):
        if self.child.poll() is None:
            return None
        if not self.result.exists():
            return Outcome(error=UserError(f"The process has ended with code {self.child.returncode}."))
        return pickle.loads(self.result.read_bytes())

    def stop(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def _note(word, number):
    if "JOB_TIMES" in os.environ:
        with Path(os.environ["JOB_TIMES"]).open("a") as file:
            file.write(f"{word} {number} {time.monotonic()}\n")


def _run(file):
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import configure_log, env_override, setup_globals

    task_function, cfg, hydra_cfg, singletons = pickle.loads(file.read_bytes())
    setup_globals()
    Singleton.set_state(singletons)
    HydraConfig.instance().cfg = hydra_cfg
    hydra = hydra_cfg.hydra
    if hydra.job.chdir or hydra.job.chdir is None:
        os.chdir(hydra.runtime.output_dir)
    configure_log(hydra.job_logging, hydra.verbose)
    _note("BEGIN", hydra.job.num)
    with env_override(hydra.job.env_set):
        try:
            outcome = Outcome(task_function(cfg))
        except Exception as error:  # noqa: BLE001 -- told by the outcome
            outcome = Outcome(error=error)
    _note("END", hydra.job.num)
    file.with_name("task.result.part").write_bytes(cloudpickle.dumps(outcome))
    file.with_name("task.result.part").replace(file.with_name("task.result"))


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
