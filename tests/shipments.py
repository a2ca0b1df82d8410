"""Jobs that a sweep ships, as processes of this machine: what comes home is what they have written elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from launch.executor_sagemaker import SageMakerExecutor
from launch.protocols import JobState

# What a job does goes by its seed: 1 to 9 train, 10 to 19 fail and say why, 20 and more are never begun, 60 takes long.
JOB = """
import json, sys, time
seed = int(next(word for word in json.loads(sys.argv[1]) if word.startswith("seed=")).split("=")[1])
if seed == 60:
    time.sleep(60)
if seed >= 20:
    sys.exit(1)
state = {"state": "completed", "error": None} if seed < 10 else {"state": "failed", "error": f"No room for {seed}."}
json.dump({**state, "seconds": 2.5}, open("run.json", "w"))
json.dump([{"name": "overfit", "verdict": "issue"}], open("diagnosis.json", "w"))
if seed < 10:
    json.dump({"val/acc_top1": seed / 10, "val/loss": 1 - seed / 10}, open("metrics.json", "w"))
sys.exit(seed >= 10)
"""


class ScriptShipment:
    """One process; ``shipped.json`` beside the run folders lists what was sent, with its process id."""

    def __init__(self, cfg, overrides, run_dir):
        self.run_dir = run_dir
        self.elsewhere = Path(tempfile.mkdtemp())
        # Another session: Ctrl-C reaches a sweep here, not a job there.
        self.job = subprocess.Popen(
            [sys.executable, "-S", "-c", JOB, json.dumps(overrides)],
            cwd=self.elsewhere,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        line = {"overrides": overrides, "seed": cfg.seed, "test": cfg.test_after_fit, "pid": self.job.pid}
        with (run_dir.parent / "shipped.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def poll(self):
        code = self.job.poll()
        status = {None: "InProgress", 0: "Completed", -signal.SIGTERM: "Stopped"}.get(code, "Failed")
        message = "AlgorithmError: exit code 1" if status == "Failed" else ""
        return JobState("dogs", status, "Training", message, None, {}, {})

    def fetch(self):
        shutil.copytree(self.elsewhere, self.run_dir, dirs_exist_ok=True)
        shutil.rmtree(self.elsewhere)

    def stop(self):
        os.kill(self.job.pid, signal.SIGTERM)
        self.job.wait()


class ScriptExecutor(SageMakerExecutor):
    def __init__(self, task_function):
        super().__init__(task_function, ScriptShipment)
