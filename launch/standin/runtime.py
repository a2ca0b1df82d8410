"""SageMaker's runtime in front of moto: requests to endpoints, which go on to their containers."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from launch.standin.container import Answer
from launch.standin.hosting import Endpoint
from launch.standin.hosting_worker import HostingWorker

_PATH = re.compile(r"/endpoints/([^/]+)/(async-)?invocations")
# The largest request, of each kind of endpoint.
MAX_BYTES, MAX_SERVERLESS_BYTES = 25 << 20, 4 << 20
StartResponse = Callable[..., Any]


class Runtime:
    """Answers InvokeEndpoint and InvokeEndpointAsync.

    Args:
        endpoints: Returns the endpoints, by name.
        worker: Returns who runs their containers.
        account: Twelve digits.
    """

    def __init__(
        self, endpoints: Callable[[], Mapping[str, Endpoint]], worker: Callable[[], HostingWorker], account: str
    ) -> None:
        self._endpoints = endpoints
        self._worker = worker
        self._account = account

    def takes(self, path: str) -> bool:
        """Say whether a request is for an endpoint."""
        return _PATH.fullmatch(path) is not None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI has it."""
        found = _PATH.fullmatch(environ["PATH_INFO"])
        assert found is not None
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        endpoint = self._endpoints().get(found[1])
        if endpoint is None or endpoint.container is None or endpoint.config is None:
            message = f"Endpoint {found[1]} of account {self._account} not found."
            return _refuse(start_response, "400 Bad Request", "ValidationError", {"Message": message})
        is_async = "AsyncInferenceConfig" in endpoint.config.request
        if is_async != bool(found[2]):
            right = "InvokeEndpointAsync" if is_async else "InvokeEndpoint"
            message = f"This operation is not supported by endpoint {found[1]}: use {right}."
            return _refuse(start_response, "400 Bad Request", "ValidationError", {"Message": message})
        if is_async:
            return self._later(environ, endpoint, start_response)
        is_serverless = "ServerlessConfig" in endpoint.config.request["ProductionVariants"][0]
        if len(body) > (MAX_SERVERLESS_BYTES if is_serverless else MAX_BYTES):
            content = {"Message": f"Request size {len(body)} bytes is larger than the limit"}
            return _refuse(start_response, "413 Content Too Large", "ValidationError", content)
        answer = self._worker().invoke(endpoint, body, _headers(environ))
        return self._pass_on(answer, endpoint, start_response)

    def _pass_on(self, answer: Answer, endpoint: Endpoint, start_response: StartResponse) -> Iterable[bytes]:
        if answer.status == 200:
            headers = [("Content-Type", answer.content_type), ("x-Amzn-Invoked-Production-Variant", "AllTraffic")]
            start_response("200 OK", [*headers, ("Content-Length", str(len(answer.body)))])
            return [answer.body]
        said = answer.body.decode(errors="replace")
        who = "client" if answer.status < 500 else "server"
        content = {
            "Message": f'Received {who} error ({answer.status}) from primary with message "{said}". See the log of '
            f"{endpoint.name} in account {self._account} for more information.",
            "OriginalStatusCode": answer.status,
            "OriginalMessage": said,
        }
        return _refuse(start_response, "424 Failed Dependency", "ModelError", content)

    def _later(self, environ: dict[str, Any], endpoint: Endpoint, start_response: StartResponse) -> Iterable[bytes]:
        address = environ.get("HTTP_X_AMZN_SAGEMAKER_INPUTLOCATION", "")
        if not self._worker().exists(address):
            message = f"The object at {address} does not exist or cannot be read."
            return _refuse(start_response, "400 Bad Request", "ValidationError", {"Message": message})
        headers = _headers(environ)
        kind = environ.get("HTTP_X_AMZN_SAGEMAKER_CONTENT_TYPE")
        headers |= {"Content-Type": kind} if kind else {}
        accept = environ.get("HTTP_X_AMZN_SAGEMAKER_ACCEPT")
        headers |= {"Accept": accept} if accept else {}
        places = self._worker().invoke_later(endpoint, address, headers)
        inference_id = environ.get("HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID") or str(uuid.uuid4())
        body = json.dumps({"InferenceId": inference_id}).encode()
        told = [("X-Amzn-SageMaker-OutputLocation", places["output"])]
        if "failure" in places:
            told.append(("X-Amzn-SageMaker-FailureLocation", places["failure"]))
        start_response(
            "202 Accepted", [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *told]
        )
        return [body]


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that SageMaker passes on to a container."""
    passed = {
        "Content-Type": environ.get("CONTENT_TYPE"),
        "Accept": environ.get("HTTP_ACCEPT"),
        "X-Amzn-SageMaker-Custom-Attributes": environ.get("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES"),
    }
    return {name: str(value) for name, value in passed.items() if value}


def _refuse(start_response: StartResponse, status: str, code: str, content: Mapping[str, Any]) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("x-amzn-errortype", code)]
    start_response(status, headers)
    return [body]
