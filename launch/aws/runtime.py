"""Ask endpoints: at once, or by way of S3."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass

from dogbreed.errors import UserError
from launch.aws.errors import RefusedError, translated
from launch.aws.session import Aws
from launch.aws.storage import S3Store
from launch.names import key_of

POLL_S = 1.0


@dataclass(frozen=True)
class Reply:
    """What an endpoint has answered.

    Args:
        body: As it came.
        content_type: Of it.
        seconds: From asking to the answer.
    """

    body: bytes
    content_type: str
    seconds: float


def invoke(
    aws: Aws,
    name: str,
    body: bytes,
    *,
    content_type: str = "application/octet-stream",
    accept: str = "application/json",
    attributes: str = "",
) -> Reply:
    """Ask an endpoint and wait for its answer.

    Args:
        aws: The account.
        name: Of the endpoint.
        body: What to send.
        content_type: Of it.
        accept: What the answer is to be.
        attributes: Options for the server: ``top_k=3``.

    Raises:
        UserError: it refuses, in its own sentence, or AWS does.
    """
    client = aws.client("sagemaker-runtime")
    more = {"CustomAttributes": attributes} if attributes else {}
    started = time.monotonic()
    with translated(f"asking the endpoint {name}"):
        answer = client.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, Accept=accept, **more)
        content = answer["Body"].read()
    return Reply(content, answer.get("ContentType", ""), time.monotonic() - started)


def invoke_async(
    aws: Aws,
    name: str,
    body: bytes,
    *,
    place: str,
    content_type: str = "application/octet-stream",
    accept: str = "application/json",
    attributes: str = "",
    timeout_s: float = 900.0,
    poll_s: float = POLL_S,
) -> Reply:
    """Ask an asynchronous endpoint: the request goes to S3, from where its answer comes; both are removed then.

    Args:
        aws: The account.
        name: Of the endpoint.
        body: What to send.
        place: Address in S3 where requests wait.
        content_type: Of it.
        accept: What the answer is to be.
        attributes: Options for the server.
        timeout_s: Wait at most so long: the first machine may have to start.
        poll_s: Seconds between two looks.

    Raises:
        UserError: it refuses, in its own sentence, does not answer in time, or AWS refuses.
    """
    bucket, prefix = key_of(place)
    store = S3Store(aws, bucket)
    key = f"{prefix}/{uuid.uuid4().hex}"
    store.put_bytes(body, key)
    client = aws.client("sagemaker-runtime")
    more = {"CustomAttributes": attributes} if attributes else {}
    started = time.monotonic()
    try:
        with translated(f"asking the endpoint {name}"):
            answer = client.invoke_endpoint_async(
                EndpointName=name,
                InputLocation=store.address(key),
                ContentType=content_type,
                Accept=accept,
                InferenceId=uuid.uuid4().hex,
                **more,
            )
        content = _wait(aws, name, answer, timeout_s, poll_s)
    finally:
        store.delete(key)
    return Reply(content, accept, time.monotonic() - started)


def _said(content: bytes) -> str:
    text = content.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The endpoint refuses ({text[:300]}): its log tells more."


def _wait(aws: Aws, name: str, answer: dict[str, str], timeout_s: float, poll_s: float) -> bytes:
    end = time.monotonic() + timeout_s
    places = {kind: key_of(answer[kind]) for kind in ("OutputLocation", "FailureLocation") if answer.get(kind)}
    while True:
        for kind, (bucket, key) in places.items():
            store = S3Store(aws, bucket)
            if store.exists(key):
                content = store.get_bytes(key)
                store.delete(key)
                if kind == "OutputLocation":
                    return content
                raise RefusedError(_said(content))
        if time.monotonic() > end:
            msg = (
                f"The endpoint {name} has not answered within {timeout_s:.0f} s; its answer will lie at "
                f"{answer['OutputLocation']}."
            )
            raise UserError(msg)
        time.sleep(poll_s)
