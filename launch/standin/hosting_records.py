"""What an endpoint keeps of requests and answers, as SageMaker writes it: JSON lines in S3."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from launch.standin.container import Answer
from launch.standin.hosting import Endpoint
from launch.standin.transfer import split_address


def capture(s3: Any, endpoint: Endpoint, body: bytes, headers: Mapping[str, str], answer: Answer) -> None:
    """Keep a request and its answer, as often as the configuration says."""
    assert endpoint.config is not None
    config = endpoint.config.request["DataCaptureConfig"]
    if not config.get("EnableCapture") or random.random() * 100 >= config["InitialSamplingPercentage"]:
        return
    texts = config.get("CaptureContentTypeHeader") or {}
    plain = {*texts.get("CsvContentTypes", ()), *texts.get("JsonContentTypes", ())}
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    time = datetime.now(UTC)
    data: dict[str, Any] = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = _part("INPUT", headers.get("Content-Type", ""), body, plain)
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = _part("OUTPUT", answer.content_type, answer.body, plain)
    record = {
        "captureData": data,
        "eventMetadata": {"eventId": str(uuid.uuid4()), "inferenceTime": f"{time:%Y-%m-%dT%H:%M:%SZ}"},
        "eventVersion": "0",
    }
    variant = endpoint.config.request["ProductionVariants"][0]["VariantName"]
    bucket, prefix = split_address(config["DestinationS3Uri"].rstrip("/"))
    key = f"{prefix}/{endpoint.name}/{variant}/{time:%Y/%m/%d/%H/%M-%S}-{uuid.uuid4()}.jsonl"
    s3.put_object(Bucket=bucket, Key=key, Body=(json.dumps(record) + "\n").encode())


def _part(mode: str, content_type: str, body: bytes, plain: set[str]) -> dict[str, str]:
    is_text = content_type.partition(";")[0] in plain
    data = body.decode(errors="replace") if is_text else base64.b64encode(body).decode()
    encoding = ("CSV" if content_type.startswith("text/csv") else "JSON") if is_text else "BASE64"
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
