"""A hosting container without an engine: model.tar.gz unpacked into a folder, and the image's command beside it."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.fetch import extract
from launch.standin.cloudlog import Stream
from launch.standin.transfer import split_address
from launch.toolkit.process import free_port

PING_S = 0.1
# From SIGTERM to SIGKILL, as Amazon gives a container.
GRACE_S = 30.0
# Of an answer: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
ANSWER_S = 60.0
_FOREIGN = ("AWS_", "SAGEMAKER_", "SM_", "PYTHONPATH")


@dataclass(frozen=True)
class Command:
    """What runs in a container.

    Args:
        words: Program and arguments.
        environment: Variables beside the usual ones.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


# Gets the folder that stands for /opt/ml/model, a free port and the model's Image; says what runs there.
CommandFor = Callable[[Path, int, str], Command]


def plain_command(folder: Path, port: int, image: str) -> Command:  # noqa: ARG001 -- others go by the image
    """Serve in the plain way, whatever the image: with the code inside the archive, on the libraries that are here."""
    words = (sys.executable, "-m", "dogbreed.serve", str(folder), "--host", "127.0.0.1", "--port", str(port))
    return Command(words, {"PYTHONPATH": os.pathsep.join((str(folder / "code"), str(folder)))})


@dataclass(frozen=True)
class Answer:
    """What a container has answered.

    Args:
        status: Of HTTP.
        content_type: Of it.
        body: As it came.
    """

    status: int
    content_type: str
    body: bytes


class Container:
    """One container, from the download of its model to its end.

    Args:
        s3: A boto3 client.
        folder: Its own; stands for ``/opt/ml``.
        model: CreateModel's request.
        command: Says what runs.
        environment: What every container gets, beside the model's own variables.
        stream: Where what it prints goes.
    """

    def __init__(
        self,
        s3: Any,
        folder: Path,
        model: Mapping[str, Any],
        command: CommandFor,
        environment: Mapping[str, str],
        stream: Stream,
    ) -> None:
        self._s3 = s3
        self._folder = folder
        self._model = model
        self._command_for = command
        self._environment = environment
        self._stream = stream
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Condition()
        self._num_asking = 0
        self.port = 0

    def start(self) -> None:
        """Fetch and unpack the model, and start the command."""
        container = self._model["PrimaryContainer"]
        place = self._folder / "model"
        self._folder.mkdir(parents=True)
        archive = self._folder / "model.tar.gz"
        bucket, key = split_address(container["ModelDataUrl"])
        self._s3.download_file(bucket, key, str(archive))
        extract(archive, place)
        archive.unlink()
        self.port = free_port()
        command = self._command_for(place, self.port, container["Image"])
        variables = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        variables |= {"SM_MODEL_DIR": str(place), "SAGEMAKER_BIND_TO_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        variables |= {**self._environment, **command.environment, **(container.get("Environment") or {})}
        self._process = subprocess.Popen(  # noqa: S603 -- our own words
            command.words,
            cwd=place,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def wait_healthy(self, timeout_s: float, is_given_up: Callable[[], bool]) -> bool:
        """Ping until it answers; False if it ends, the time is over or nobody wants it any more."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not is_given_up():
            if self._process is None or self._process.poll() is not None:
                break
            with suppress(OSError, http.client.HTTPException):
                if self._ask("GET", "/ping", timeout_s=2.0).status == 200:
                    return True
            time.sleep(PING_S)
        return False

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Ask it; a connection that breaks is an answer, too."""
        with self._lock:
            self._num_asking += 1
        try:
            return self._ask("POST", "/invocations", body, headers, ANSWER_S)
        except (OSError, http.client.HTTPException) as error:
            return Answer(503, "application/json", f'{{"error": "{type(error).__name__}"}}'.encode())
        finally:
            with self._lock:
                self._num_asking -= 1
                self._lock.notify_all()

    def stop(self) -> None:
        """Let running requests finish, then end it: SIGTERM, and SIGKILL where that does not help."""
        with self._lock:
            self._lock.wait_for(lambda: self._num_asking == 0, ANSWER_S)
        if self._process:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
            self._signal(signal.SIGKILL)
            self._process.wait()
        if self._reader:
            self._reader.join(GRACE_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        finally:
            connection.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with suppress(Exception):  # a log that cannot be written must not stop the container
                self._stream.write([(time.time_ns() // 1_000_000, line.rstrip("\r\n"))])
