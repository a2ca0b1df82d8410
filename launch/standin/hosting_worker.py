"""The hosting worker: starts and ends the containers of endpoints and transform jobs, and passes requests on."""

from __future__ import annotations

import itertools
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launch.standin.cloudlog import Stream, make_group
from launch.standin.container import Answer, CommandFor, Container, plain_command
from launch.standin.faults import Faults
from launch.standin.hosting import Endpoint, Kept, TransformJob
from launch.standin.hosting_records import capture
from launch.standin.transfer import NothingFoundError, list_keys, split_address

ENDPOINTS_GROUP, TRANSFORM_GROUP = "/aws/sagemaker/Endpoints", "/aws/sagemaker/TransformJobs"
# What SageMaker gives a container for its first ping, unless the configuration says otherwise.
HEALTH_CHECK_S = 240.0
NO_PING = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)
NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry using a "
    "different ML instance type or after some time."
)
NUM_THREADS = 16


class HostingWorker:
    """Runs containers.

    Args:
        folder: Each container gets a folder in it.
        client: Returns a boto3 client of a service, by its name.
        environment: What every container knows of AWS.
        faults: Says when there is no machine.
        command: Says what runs in a container.
    """

    def __init__(
        self,
        folder: Path,
        client: Callable[[str], Any],
        environment: Mapping[str, str],
        faults: Faults,
        command: CommandFor = plain_command,
    ) -> None:
        self._folder = folder
        self._client = client
        self._environment = environment
        self._faults = faults
        self._command = command
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(NUM_THREADS, "standin-hosting")
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._containers: set[Container] = set()

    def exists(self, address: str) -> bool:
        """Say whether there is an object at an address."""
        bucket, key = split_address(address)
        try:
            return key in list_keys(self._client("s3"), bucket, key)
        except NothingFoundError:
            return False

    def bring_up(self, endpoint: Endpoint, config: Kept, models: Sequence[Kept]) -> None:
        """Start a container of a configuration; when it is healthy, the endpoint answers by it."""
        self._pool.submit(self._guarded, self._bring_up, endpoint, config, models[0])

    def take_down(self, endpoint: Endpoint, forget: Callable[[], object]) -> None:
        """End an endpoint's container, then forget the endpoint."""

        def end() -> None:
            if endpoint.container:
                self._end(endpoint.container)
            forget()

        self._pool.submit(self._guarded, end)

    def invoke(self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Pass a request on to who answers for an endpoint."""
        container, config = endpoint.container, endpoint.config
        assert container is not None
        assert config is not None
        answer = container.invoke(body, headers)
        if config.request.get("DataCaptureConfig"):
            capture(self._client("s3"), endpoint, body, headers, answer)
        return answer

    def invoke_later(self, endpoint: Endpoint, address: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Fetch a request from S3, and put its answer or its refusal there; return where."""
        assert endpoint.config is not None
        output = endpoint.config.request["AsyncInferenceConfig"]["OutputConfig"]
        name = str(uuid.uuid4())
        places = {"output": f"{output['S3OutputPath'].rstrip('/')}/{name}.out"}
        if output.get("S3FailurePath"):
            places["failure"] = f"{output['S3FailurePath'].rstrip('/')}/{name}-error.out"

        def answer() -> None:
            s3 = self._client("s3")
            bucket, key = split_address(address)
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            found = self.invoke(endpoint, body, headers)
            place = places["output"] if found.status == 200 else places.get("failure")
            if place:
                bucket, key = split_address(place)
                s3.put_object(Bucket=bucket, Key=key, Body=found.body, ContentType=found.content_type)

        self._pool.submit(self._guarded, answer)
        return places

    def transform(self, job: TransformJob, model: Kept) -> None:
        """Run a transform job."""
        from launch.standin.hosting_transform import run_transform

        def run() -> None:
            try:
                run_transform(self, job, model)
            except Exception as error:
                job.end("Failed", f"InternalServerError: We encountered an internal error ({error}). Please try again.")
                raise

        self._pool.submit(self._guarded, run)

    def container(self, model: Kept, group: str, job: str, host: str) -> Container:
        """Make a container, which is not started yet."""
        logs = self._client("logs")
        make_group(logs, group)
        folder = self._folder / "containers" / f"{job}-{next(self._numbers)}"
        stream = Stream(logs, job, host, group)
        made = Container(self.s3, folder, model.request, self._command, self._environment, stream)
        with self._lock:
            self._containers.add(made)
        return made

    def end(self, container: Container) -> None:
        """End a container."""
        self._end(container)

    @property
    def s3(self) -> Any:
        """A boto3 client of S3."""
        return self._client("s3")

    @property
    def is_closing(self) -> bool:
        """Say whether the stand-in ends."""
        return self._closing.is_set()

    def close(self) -> None:
        """End all containers, and come back when nothing of them is left."""
        self._closing.set()
        with self._lock:
            containers = list(self._containers)
        with ThreadPoolExecutor(NUM_THREADS) as enders:
            list(enders.map(self._end, containers))
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _bring_up(self, endpoint: Endpoint, config: Kept, model: Kept) -> None:
        variant = config.request["ProductionVariants"][0]
        was = endpoint.status
        failed = "Failed" if was == "Creating" else "InService"
        if self._faults.no_capacity:
            time.sleep(self._faults.host_delay_s)
            endpoint.end(failed, NO_CAPACITY)
            return
        host = f"i-{uuid.uuid4().hex[:17]}"
        container = self.container(model, f"{ENDPOINTS_GROUP}/{endpoint.name}", variant["VariantName"], host)
        time.sleep(self._faults.host_delay_s)
        try:
            container.start()
            limit_s = float(variant.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_CHECK_S))
            is_healthy = container.wait_healthy(limit_s, self._closing.is_set)
        except Exception as error:
            self._end(container)
            endpoint.end(failed, f"The model data could not be used: {error}")
            raise
        if not is_healthy:
            self._end(container)
            endpoint.end(failed, NO_PING.format(variant=variant["VariantName"]))
            return
        old = endpoint.end("InService", config=config, container=container)
        if old:
            self._end(old)

    def _end(self, container: Container) -> None:
        with self._lock:
            self._containers.discard(container)
        container.stop()

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception:  # noqa: BLE001 -- nobody else would tell of it
            if not self._closing.is_set():
                traceback.print_exc(file=sys.stderr)
