"""TEMPORARY until launch.toolkit is there."""
from __future__ import annotations
import json, os, queue, signal, subprocess, sys, tarfile, threading, time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Host:
    def __init__(self, name, names, base, request, environment, lines):
        self.name, self.names, self.base, self.request, self.environment, self._lines = name, names, base, request, environment, lines
        self._process = None

    def lay_out(self):
        for part in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
            (self.base / part).mkdir(parents=True, exist_ok=True)

    def start(self):
        import boto3
        from launch.standin.transfer import split_address
        hps = {k: json.loads(v) for k, v in self.request["HyperParameters"].items()}
        b, k = split_address(hps["sagemaker_submit_directory"])
        s3 = boto3.client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"], aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1")
        s3.download_file(b, k, str(self.base / "s.tar.gz"))
        tarfile.open(self.base / "s.tar.gz").extractall(self.base / "code", filter="data")
        env = os.environ | self.environment | {"SM_MODEL_DIR": str(self.base / "model"), "SM_OUTPUT_DATA_DIR": str(self.base / "output/data"), "SM_HPS": json.dumps(hps), "SAGEMAKER_BASE_DIR": str(self.base), "PYTHONUNBUFFERED": "1", "SM_CURRENT_HOST": self.name}
        self._process = subprocess.Popen([sys.executable, hps["sagemaker_program"]], cwd=self.base / "code", env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put((self.name, int(time.time() * 1000), line.rstrip("\n")))

    @property
    def is_drained(self):
        return self._process is None or not self._reader.is_alive()

    def poll(self):
        return self._process.poll()

    def terminate(self):
        self._process.terminate()

    def kill(self):
        if self._process is None: return
        try: os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError: pass
        self._process.wait()

    def failure(self):
        try: return (self.base / "output" / "failure").read_text()
        except OSError: return "ExecuteUserScriptError"
