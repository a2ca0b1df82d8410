"""Faults on request: what the cloud does on a bad day, in front of moto's server.

Only callers from outside meet them; the job worker and the jobs speak to a port of their own, as Amazon's do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qs

SLOW_DOWN = "Please reduce your request rate."
EXPIRED = "The security token included in the request is expired"


@dataclass
class Faults:
    """What goes wrong at the moment; all off by default.

    Args:
        throttle_attempts: The first so many attempts of each call are throttled, whatever the call.
        throttle_every: Each so-manieth call is throttled.
        expire_after: After so many more calls the credentials are expired; None for never.
        put_failures: So many writes to S3 fail, …
        put_skip: … after so many have passed.
        put_cut: They fail by a connection that breaks half-way; otherwise by ``InternalError``.
        errors: Action to the code and message that it is answered with, e.g.
            ``{"CreateTrainingJob": ["ResourceLimitExceeded", "…"]}``.
        interrupt_on: A spot job's machine is taken away when a line of its log holds this text; once a job.
        no_capacity: There is no machine for an endpoint.
        host_delay_s: Seconds until there is one.
    """

    throttle_attempts: int = 0
    throttle_every: int = 0
    expire_after: int | None = None
    put_failures: int = 0
    put_skip: int = 0
    put_cut: bool = False
    errors: dict[str, list[str]] = field(default_factory=dict)
    interrupt_on: str = ""
    no_capacity: bool = False
    host_delay_s: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._num_calls = 0

    def set(self, **values: Any) -> None:
        """Change some of them.

        Raises:
            ValueError: one of this name does not exist.
        """
        names = {item.name for item in fields(self)}
        unknown = sorted(set(values) - names)
        if unknown:
            msg = f"no fault is called {unknown[0]}: {', '.join(sorted(names))}"
            raise ValueError(msg)
        with self._lock:
            for name, value in values.items():
                setattr(self, name, value)

    def clear(self) -> None:
        """Turn all off."""
        self.set(**{item.name: getattr(Faults(), item.name) for item in fields(self)})

    def answer(self, call: Call) -> tuple[str, str] | None:
        """Say which error a call is answered with, as code and message; None if it passes."""
        with self._lock:
            self._num_calls += 1
            if self.expire_after is not None:
                if self.expire_after <= 0:
                    return (
                        "ExpiredToken" if call.service in ("s3", "sts", "iam") else "ExpiredTokenException",
                        EXPIRED,
                    )
                self.expire_after -= 1
            if call.action in self.errors:
                code, message = self.errors[call.action]
                return code, message
            nth = self.throttle_every and self._num_calls % self.throttle_every == 0
            if nth or call.attempt <= self.throttle_attempts:
                return ("SlowDown" if call.service == "s3" else "ThrottlingException", SLOW_DOWN)
            if call.action in ("PutObject", "UploadPart") and self.put_failures:
                if self.put_skip > 0:
                    self.put_skip -= 1
                    return None
                self.put_failures -= 1
                return "cut" if self.put_cut else "InternalError", "We encountered an internal error. Please try again."
        return None


@dataclass(frozen=True)
class Call:
    """A request as it arrives.

    Args:
        service: ``s3``, ``sagemaker``, ``logs``, ``iam``, ``sts``.
        action: ``CreateTrainingJob``, ``PutObject``, ….
        attempt: 1 for the first; the SDK counts.
        path: Of the address: bucket and key for S3.
        body: Parameters, where they are JSON.
    """

    service: str
    action: str
    attempt: int
    path: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Call:
        """Read a call from a WSGI environment, whose body can be read again afterwards."""
        scope = environ.get("HTTP_AUTHORIZATION", "").split("/")
        service = scope[3] if len(scope) > 4 else "s3"
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        path = environ.get("PATH_INFO", "/")
        body: Mapping[str, Any] = {}
        if target:
            body = json.loads(_body(environ) or b"{}")
            action = target.rpartition(".")[2]
        elif service in ("iam", "sts"):
            action = parse_qs(_body(environ).decode()).get("Action", [""])[0]
        elif service == "sagemaker":  # its runtime
            action = "InvokeEndpointAsync" if path.endswith("/async-invocations") else "InvokeEndpoint"
        else:
            action = _s3_action(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""))
        counted = parse_qs(environ.get("HTTP_AMZ_SDK_REQUEST", "").replace("; ", "&"))
        return cls(service, action, int(counted.get("attempt", ["1"])[0]), path, body)


def _body(environ: dict[str, Any]) -> bytes:
    import io

    data: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(data)
    return data


def _s3_action(method: str, path: str, query: str) -> str:
    has_key = "/" in path.strip("/")
    names = parse_qs(query, keep_blank_values=True)
    if method == "PUT":
        if not has_key:
            return "CreateBucket"
        return "UploadPart" if "partNumber" in names else "PutObject"
    if method == "GET":
        return "GetObject" if has_key else "ListObjectsV2"
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in names else "CompleteMultipartUpload"
    return {"HEAD": "HeadObject" if has_key else "HeadBucket", "DELETE": "DeleteObject"}.get(method, method)


def error_body(call: Call, code: str, message: str) -> tuple[str, str, bytes]:
    """Phrase an error in the service's own protocol.

    Returns:
        Status line, content type, body.
    """
    if call.service == "s3":
        status = {
            "SlowDown": "503 Slow Down",
            "InternalError": "500 Internal Server Error",
            "AccessDenied": "403 Forbidden",
        }
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return status.get(code, "400 Bad Request"), "application/xml", text.encode()
    if call.service in ("iam", "sts"):
        text = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return "400 Bad Request", "text/xml", f"<ErrorResponse>{text}<RequestId>0</RequestId></ErrorResponse>".encode()
    content = json.dumps({"__type": code, "message": message})
    return "400 Bad Request", "application/x-amz-json-1.1", content.encode()
