"""The job worker: takes training jobs from the API and runs each on as many machines' lives as it takes."""

from __future__ import annotations

import shutil
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launch.standin.attempt import Attempt, Ending
from launch.standin.cloudlog import MetricReader, make_group
from launch.standin.faults import Faults
from launch.standin.job import TrainingJob
from launch.standin.transfer import FolderSync, NothingFoundError, pull_channels, push_artifacts
from launch.toolkit.environment import toolkit_python

# The role's credentials, as a container gets them.
JOB_KEY, JOB_SECRET = "ASIASTANDINJOB000000", "standin-job"
# What is copied to S3 while a job runs: part of the request, and where it lies unless the request says otherwise.
OPT_ML = "/opt/ml"
SYNCED = {"CheckpointConfig": "/opt/ml/checkpoints", "TensorBoardOutputConfig": "/opt/ml/output/tensorboard"}


class Worker:
    """Runs jobs in threads, so many at a time.

    Args:
        folder: Each job gets a folder in it, which stays until the stand-in's end.
        endpoint: Address of moto for the worker and the jobs, without faults.
        region: AWS region.
        faults: Says when a spot machine is taken away.
        max_jobs: At a time; 0 leaves all of them as they are.
        toolkit: Folder of the toolkit's environment; None for the one in the user's cache.
    """

    def __init__(
        self, folder: Path, endpoint: str, region: str, faults: Faults, max_jobs: int, toolkit: Path | None = None
    ) -> None:
        self._folder = folder
        self._toolkit = toolkit
        self.endpoint = endpoint
        self.region = region
        self.faults = faults
        self._pool = ThreadPoolExecutor(max_jobs, "standin-job") if max_jobs else None
        self._closing = threading.Event()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        make_group(self.client("logs"))

    def client(self, service: str) -> Any:
        """Return a boto3 client of this worker's own; they may be shared by threads, but not made by two."""
        import boto3
        from botocore.config import Config

        with self._lock:
            if service not in self._clients:
                session = boto3.Session(JOB_KEY, JOB_SECRET, region_name=self.region)
                config = Config(s3={"addressing_style": "path"}, max_pool_connections=20)
                self._clients[service] = session.client(service, endpoint_url=self.endpoint, config=config)
            return self._clients[service]

    def python(self) -> Path:
        """Return the interpreter of the toolkit's environment, which is made if it is not there."""
        with self._lock:
            return toolkit_python(_say, self._toolkit)

    @property
    def connected(self) -> dict[str, str]:
        """What a container knows of AWS: its role's credentials and where to go."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": JOB_KEY,
            "AWS_SECRET_ACCESS_KEY": JOB_SECRET,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def isolated(self) -> dict[str, str]:
        """Network isolation, as far as a process without a name space has it: S3 and proxies lead nowhere."""
        nowhere = "http://127.0.0.1:9"
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), nowhere)
        return self.connected | proxies | {"AWS_ENDPOINT_URL": nowhere, "NO_PROXY": "", "no_proxy": ""}

    @property
    def is_closing(self) -> bool:
        """Say whether the stand-in ends."""
        return self._closing.is_set()

    def take(self, job: TrainingJob) -> None:
        """Run a job as soon as there is room."""
        if self._pool and not self._closing.is_set():
            self._pool.submit(self._run, job)

    def close(self) -> None:
        """Kill what runs, drop what waits, and come back when nothing of it is left."""
        self._closing.set()
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: TrainingJob) -> None:
        folder = self._folder / "jobs" / job.training_job_name
        try:
            folder.mkdir(parents=True)
            _Run(self, job, folder, self._closing).run()
        except Exception as error:  # noqa: BLE001 -- a bug of ours must not leave the job in progress for ever
            traceback.print_exc(file=sys.stderr)
            job.end("Failed", f"InternalServerError: We encountered an internal error ({error}). Please try again.")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class _Run:
    """One job from its start to its end."""

    def __init__(self, worker: Worker, job: TrainingJob, folder: Path, closing: threading.Event) -> None:
        self._worker = worker
        self._job = job
        self._folder = folder
        self._closing = closing
        self._s3 = worker.client("s3")
        self._metrics = MetricReader(job.request)
        output = job.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        self._output = f"{output}/{job.training_job_name}/output"

    def run(self) -> None:
        job = self._job
        interrupt_on = self._worker.faults.interrupt_on if job.request.get("EnableManagedSpotTraining") else ""
        while True:
            job.num_attempts += 1
            attempt = self._attempt(interrupt_on)
            try:
                if job.num_attempts > 1:
                    job.enter("Starting")
                if not self._fill(attempt):
                    return
                ending = attempt.run(self._worker.python())
                if ending.kind == "interrupted":
                    job.enter("Interrupted")
                    interrupt_on = ""
                    continue
                self._finish(attempt, ending)
                return
            finally:
                attempt.kill()
                shutil.rmtree(attempt.folder, ignore_errors=True)

    def _attempt(self, interrupt_on: str) -> Attempt:
        base = self._folder / f"machine-{self._job.num_attempts}"
        environment = (
            self._worker.isolated if self._job.request.get("EnableNetworkIsolation") else self._worker.connected
        )
        logs = self._worker.client("logs")
        return Attempt(self._job, base, environment, logs, self._metrics, interrupt_on, self._closing)

    def _fill(self, attempt: Attempt) -> bool:
        """Bring channels and checkpoints onto the machines; False if the job has ended over it."""
        job = self._job
        if job.stop_asked.is_set():
            job.end("Stopped")
            return False
        job.enter("Downloading")
        try:
            for host in attempt.hosts:
                pull_channels(self._s3, job.request, host.base)
                host.lay_out()
                for key, default in SYNCED.items():
                    if job.request.get(key):
                        self._sync(attempt, host.base, key, default)
        except NothingFoundError as error:
            job.end("Failed", f"ClientError: Data download failed:{error}.")
            return False
        return True

    def _sync(self, attempt: Attempt, base: Path, key: str, default: str) -> None:
        config = self._job.request[key]
        folder = base / Path(config.get("LocalPath") or default).relative_to(OPT_ML)
        sync = FolderSync(self._s3, folder, config.get("S3Uri") or config["S3OutputPath"])
        if key == "CheckpointConfig":
            sync.restore()
        attempt.syncs.append(sync)

    def _finish(self, attempt: Attempt, ending: Ending) -> None:
        job = self._job
        if job.training_job_status == "InProgress":
            job.enter("Uploading")
        if ending.kind != "failed":
            self._push(attempt, "model", "model")
        self._push(attempt, "output", "output/data")
        if ending.kind == "failed":
            job.end("Failed", ending.reason)
        elif ending.kind == "completed":
            job.end("Completed")
        else:
            job.end("Stopped", phase=ending.phase)

    def _push(self, attempt: Attempt, name: str, folder: str) -> None:
        folders = [host.base / folder for host in attempt.hosts]
        compressed = self._job.request["OutputDataConfig"].get("CompressionType") != "NONE"
        push_artifacts(self._s3, folders, self._output, name, self._folder, compressed=compressed)
