"""The stand-in as a whole: moto's server on two ports, the worker behind it, faults in front of it."""

from __future__ import annotations

import itertools
import json
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from werkzeug.serving import BaseWSGIServer, make_server

from dogbreed.errors import UserError
from launch.standin.actions import Iam, SageMaker, create_app
from launch.standin.container import CommandFor, plain_command
from launch.standin.faults import Call, Faults, error_body
from launch.standin.hosting_worker import HostingWorker
from launch.standin.job import TrainingJob
from launch.standin.runtime import Runtime
from launch.standin.tuning import TuningJob
from launch.standin.worker import Worker

HOST = "127.0.0.1"
# moto keeps its state in the process, by account: each stand-in has one of its own.
ACCOUNTS = itertools.count(111122223333)
ROLE_NAME = "dogbreed-standin"
KEPT_REQUESTS = 100_000
# What a training job's role may do.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*", "logs:*", "ecr:*", "cloudwatch:*"], "Resource": "*"}],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
StartResponse = Callable[..., Any]


class StandIn:
    """AWS on this machine; a context manager.

    Args:
        folder: Where jobs run, a folder each; None for a temporary one, removed at the end.
        port: Of the public address; 0 for a free one.
        region: AWS region.
        max_jobs: Jobs that train at a time; others wait. 0 runs none: a test moves them on itself (`job`).
        toolkit: Folder of the training toolkit's environment; None for the one in the user's cache.
        container: Says what runs in the container of an endpoint.

    Example:
        >>> with StandIn() as aws:  # doctest: +SKIP
        ...     subprocess.run([...], env=os.environ | aws.environment)
    """

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        region: str = "us-east-1",
        max_jobs: int = 1,
        toolkit: Path | None = None,
        container: CommandFor = plain_command,
    ) -> None:
        self.region = region
        self.faults = Faults()
        self.requests: deque[Call] = deque(maxlen=KEPT_REQUESTS)
        self.account = str(next(ACCOUNTS))
        self.bucket = f"sagemaker-{region}-{self.account}"
        self.role = f"arn:aws:iam::{self.account}:role/{ROLE_NAME}"
        self._port = port
        self._temporary = tempfile.TemporaryDirectory(prefix="standin-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or "").absolute()
        self._inner: _Listener | None = None
        self._outer: _Listener | None = None
        self._max_jobs = max_jobs
        self._toolkit = toolkit
        self._container = container
        self.worker: Worker | None = None
        self.hosting: HostingWorker | None = None

    def start(self) -> StandIn:
        """Start to listen, with a role and a bucket ready.

        Raises:
            UserError: the port is taken.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        responses = {
            "sagemaker": SageMaker.with_worker(
                lambda job: self._worker().take(job), lambda: self._worker().is_closing, self._hosting
            ),
            "iam": Iam,
        }
        dispatcher = DomainDispatcherApplication(lambda service: create_app(service, responses))

        def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
            return dispatcher(environ | {"HTTP_X_MOTO_ACCOUNT_ID": self.account}, start_response)

        self._inner = _Listener(app, 0)
        self.worker = Worker(self.folder, self._inner.url, self.region, self.faults, self._max_jobs, self._toolkit)
        worker = self.worker
        self.hosting = HostingWorker(self.folder, worker.client, worker.connected, self.faults, self._container)
        self.runtime = Runtime(lambda: self._backend.endpoints, self._hosting, self.account)  # type: ignore[arg-type, return-value]
        self._front = _Front(app, self)
        self.reconnect()
        self._prepare()
        return self

    def stop(self) -> None:
        """Kill the jobs that run, end the containers and stop to listen."""
        self._worker().close()
        self._hosting().close()
        self.disconnect()
        if self._inner:
            self._inner.close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def disconnect(self) -> None:
        """Take the network away: the public address refuses connections; jobs go on."""
        if self._outer:
            self._outer.close()
            self._outer = None

    def reconnect(self) -> None:
        """Bring the network back, at the same address."""
        if self._outer is None:
            self._outer = _Listener(self._front, self._port)
            self._port = self._outer.port

    @property
    def url(self) -> str:
        """The public address."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which any AWS SDK, and our commands, come here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIASTANDIN000000000",
            "AWS_SECRET_ACCESS_KEY": "standin",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_ROLE": self.role,
        }

    def sent(self, action: str) -> list[Mapping[str, Any]]:
        """Return the parameters of each call of an action, in order, as they came."""
        return [call.body for call in list(self.requests) if call.action == action]

    def job(self, name: str) -> TrainingJob:
        """Return a job as the worker has it.

        Raises:
            KeyError: there is none of this name.
        """
        job = self._backend.training_jobs[name]
        assert isinstance(job, TrainingJob)
        return job

    def tuning_job(self, name: str) -> TuningJob:
        """Return a tuning job as the stand-in has it.

        Raises:
            KeyError: there is none of this name.
        """
        tuning = self._backend.hyper_parameter_tuning_jobs[name]
        assert isinstance(tuning, TuningJob)
        return tuning

    @property
    def _backend(self) -> SageMakerModelBackend:
        return sagemaker_backends[self.account][self.region]

    def _hosting(self) -> HostingWorker:
        assert self.hosting is not None, "start() comes first"
        return self.hosting

    def _worker(self) -> Worker:
        assert self.worker is not None, "start() comes first"
        return self.worker

    def _prepare(self) -> None:
        iam, s3 = self._worker().client("iam"), self._worker().client("s3")
        iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.put_role_policy(RoleName=ROLE_NAME, PolicyName="training", PolicyDocument=json.dumps(POLICY))
        place = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        s3.create_bucket(Bucket=self.bucket, **({"CreateBucketConfiguration": place} if place else {}))


class _QuietHandler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: a run makes thousands of requests."""


class _Listener:
    """A port that an application answers, in threads."""

    def __init__(self, app: Any, port: int) -> None:
        try:
            opened = socket.create_server((HOST, port))
        except OSError as error:
            msg = f"Port {port} cannot be listened on ({error.strerror}): choose another one with --port."
            raise UserError(msg) from error
        with opened:  # werkzeug, which would print and exit where a port is taken, makes a copy of it
            self._server: BaseWSGIServer = make_server(
                HOST, port, app, threaded=True, request_handler=_QuietHandler, fd=opened.fileno()
            )
        self.port = int(self._server.socket.getsockname()[1])
        self.url = f"http://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Front:
    """What stands before moto on the public port: keeps requests, makes faults, answers ``/standin/…``."""

    def __init__(self, app: Any, standin: StandIn) -> None:
        self._app = app
        self._standin = standin

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith("/standin/"):
            status, content = self._control(environ)
            start_response(status, [("Content-Type", "application/json")])
            return [json.dumps(content, default=str).encode()]
        call = Call.of(environ)
        error = self._standin.faults.answer(call)
        if error is None:
            self._standin.requests.append(call)
            if call.service == "pricing":  # which moto 5.2 has no answer for; there are no prices here
                start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
                return [json.dumps({"FormatVersion": "aws_v1", "PriceList": []}).encode()]
            if self._standin.runtime.takes(environ.get("PATH_INFO", "")):
                return self._standin.runtime(environ, start_response)
            return self._app(environ, start_response)  # type: ignore[no-any-return]
        if error[0] == "cut":
            return _cut(environ)
        status, content_type, body = error_body(call, *error)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # or the client sees a broken pipe
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    def _control(self, environ: dict[str, Any]) -> tuple[str, Any]:
        """``POST`` and ``DELETE /standin/faults``, ``GET /standin/requests?ACTION``."""
        standin, path, method = self._standin, environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/standin/requests":
            return "200 OK", standin.sent(environ.get("QUERY_STRING", ""))
        if path != "/standin/faults":
            return "404 Not Found", {"error": f"{path} does not exist: /standin/faults, /standin/requests?ACTION"}
        if method == "DELETE":
            standin.faults.clear()
        elif method == "POST":
            try:
                standin.faults.set(**json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))))
            except (ValueError, TypeError) as error:
                return "400 Bad Request", {"error": str(error)}
        return "200 OK", asdict(standin.faults)


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    """Read half of what is sent and break the connection."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError
