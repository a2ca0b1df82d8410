"""A transform job: pictures from S3, one request each, answers to S3."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from launch.standin.cloudlog import Stream
from launch.standin.container import Answer, Container
from launch.standin.hosting import Kept, TransformJob, now
from launch.standin.transfer import NothingFoundError, list_keys, split_address

if TYPE_CHECKING:
    from launch.standin.hosting_worker import HostingWorker

# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
HEALTH_CHECK_S = 600.0
HOST = "i-0123456789abcdef0"


def run_transform(worker: HostingWorker, job: TransformJob, model: Kept) -> None:
    """Run a job to its end; one picture that is refused is the end of it, as SageMaker has it.

    Args:
        worker: Makes the container.
        job: Moved on.
        model: Answers.
    """
    from launch.standin.hosting_worker import TRANSFORM_GROUP

    bucket, prefix = split_address(job.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
    try:
        keys = list(list_keys(worker.s3, bucket, prefix))
    except NothingFoundError:
        keys = []
    if not keys:
        job.end("Failed", f"ClientError: No S3 objects found under S3 URL s3://{bucket}/{prefix}")
        return
    container = worker.container(model, TRANSFORM_GROUP, job.name, HOST)
    try:
        container.start()
        if not container.wait_healthy(HEALTH_CHECK_S, lambda: is_given_up(worker, job)):
            if is_given_up(worker, job):
                job.end("Stopped")
            else:
                job.end("Failed", "AlgorithmError: See job logs for more information")
            return
        job.started = now()
        _Pass(worker, job, container, bucket, prefix).run(keys)
    finally:
        worker.end(container)


def is_given_up(worker: HostingWorker, job: TransformJob) -> bool:
    """Say whether nobody wants the job's answers any more."""
    return job.stop_asked.is_set() or worker.is_closing


class _Pass:
    """All pictures of one job."""

    def __init__(
        self, worker: HostingWorker, job: TransformJob, container: Container, bucket: str, prefix: str
    ) -> None:
        from launch.standin.hosting_worker import TRANSFORM_GROUP

        self._worker = worker
        self._job = job
        self._container = container
        self._bucket = bucket
        # Names are kept from the address's last slash on.
        self._start = len(prefix.rpartition("/")[0]) + 1 if "/" in prefix else 0
        self._output, self._prefix = split_address(job.request["TransformOutput"]["S3OutputPath"].rstrip("/"))
        self._log = Stream(worker._client("logs"), job.name, f"{HOST}/data-log", TRANSFORM_GROUP)  # noqa: SLF001

    def run(self, keys: list[str]) -> None:
        job = self._job
        with ThreadPoolExecutor(job.request.get("MaxConcurrentTransforms") or 1) as pool:
            answers = list(pool.map(self._transform, keys))
        if is_given_up(self._worker, job):
            job.end("Stopped")
        elif any(answer is None or answer.status != 200 for answer in answers):
            job.end("Failed", "ClientError: See job logs for more information")
        else:
            job.end("Completed")

    def _transform(self, key: str) -> Answer | None:
        if is_given_up(self._worker, self._job):
            return None
        request, s3 = self._job.request, self._worker.s3
        body = s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        if len(body) > (request.get("MaxPayloadInMB") or 6) * 1_000_000:
            self._tell(key, "the picture is larger than MaxPayloadInMB")
            return None
        headers = {"Content-Type": request["TransformInput"].get("ContentType", "application/octet-stream")}
        headers["Accept"] = request["TransformOutput"].get("Accept", "*/*")
        answer = self._container.invoke(body, headers)
        if answer.status != 200:
            self._tell(key, f"Bad HTTP status received from algorithm: {answer.status}")
            self._tell(key, answer.body.decode(errors="replace"))
            return answer
        name = f"{self._prefix}/{key[self._start :]}.out"
        s3.put_object(Bucket=self._output, Key=name, Body=answer.body, ContentType=answer.content_type)
        return answer

    def _tell(self, key: str, text: str) -> None:
        name = key.rpartition("/")[2]
        self._log.write([(time.time_ns() // 1_000_000, f"[sagemaker logs]: {self._bucket}/{name}: {text}")])
