"""What SageMaker keeps of models, configurations, endpoints and transform jobs, and how it tells of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.standin.container import Container

IN_PROGRESS = ("Creating", "Updating", "Deleting")


class Kept:
    """What was asked for, with a name, an ARN, tags and a time; moto's backend tags it by these attributes.

    Args:
        kind: As ARNs have it: ``model``, ``endpoint-config``, ``endpoint``, ``transform-job``.
        api: As the API's keys begin: ``Model``, ``EndpointConfig``, ….
        request: The whole request.
        account: Twelve digits.
        region: AWS region.
    """

    def __init__(self, kind: str, api: str, request: Mapping[str, Any], account: str, region: str) -> None:
        self.api = api
        self.request = {key: value for key, value in request.items() if key != "Tags"}
        self.name: str = request[f"{api}Name"]
        self.arn = f"arn:aws:sagemaker:{region}:{account}:{kind}/{self.name}"
        self.tags = list(request.get("Tags") or [])
        self.created = now()

    @property
    def response_object(self) -> dict[str, Any]:
        """What Describe answers."""
        return {**self.request, f"{self.api}Arn": self.arn, "CreationTime": self.created}

    @property
    def summary(self) -> dict[str, Any]:
        """An entry of a list."""
        return {f"{self.api}Name": self.name, f"{self.api}Arn": self.arn, "CreationTime": self.created}


class Endpoint(Kept):
    """An endpoint that lives; the worker moves it on.

    Args:
        request: CreateEndpoint's.
        account: Twelve digits.
        region: AWS region.
    """

    def __init__(self, request: Mapping[str, Any], account: str, region: str) -> None:
        super().__init__("endpoint", "Endpoint", request, account, region)
        self.endpoint_name = self.name  # by which moto finds it
        self.status = "Creating"
        self.failure = ""
        self.config: Kept | None = None
        self.pending: Kept | None = None
        self.counts: dict[str, int] = {}
        self.modified = self.created
        self.container: Container | None = None
        self.lock = threading.RLock()

    def begin(self, status: str, config: Kept | None = None) -> None:
        """Begin something, to the end of which nothing else can begin."""
        with self.lock:
            self.status, self.pending, self.modified = status, config, now()

    def end(
        self, status: str, failure: str = "", config: Kept | None = None, container: Any = None
    ) -> Container | None:
        """End it; return the container that nobody asks any more."""
        with self.lock:
            old = None
            if config is not None:
                old, self.container, self.config = self.container, container, config
                self.counts = {
                    variant["VariantName"]: variant.get("InitialInstanceCount", 0)
                    for variant in config.request["ProductionVariants"]
                }
            self.status, self.failure, self.pending, self.modified = status, failure, None, now()
            return old

    @property
    def response_object(self) -> dict[str, Any]:
        """What DescribeEndpoint answers."""
        with self.lock:
            shown = self.config or self.pending
            answer = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": shown.name if shown else self.request["EndpointConfigName"],
                "EndpointStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            if self.failure:
                answer["FailureReason"] = self.failure[:1024]
            if self.config:
                answer["ProductionVariants"] = [
                    self._variant(item) for item in self.config.request["ProductionVariants"]
                ]
                for key in ("DataCaptureConfig", "AsyncInferenceConfig"):
                    if key in self.config.request:
                        answer[key] = self.config.request[key]
            if self.status == "Updating" and self.pending:
                statuses = [{"Status": "Creating", "StartTime": self.modified}]
                variants = [
                    {"VariantName": item["VariantName"], "VariantStatus": statuses}
                    for item in self.pending.request["ProductionVariants"]
                ]
                answer["PendingDeploymentSummary"] = {
                    "EndpointConfigName": self.pending.name,
                    "ProductionVariants": variants,
                    "StartTime": self.modified,
                }
        return answer

    def gen_response_object(self) -> dict[str, Any]:
        """Answer moto's search, which asks under this name."""
        return self.response_object | {"Tags": self.tags}

    def _variant(self, item: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"VariantName": item["VariantName"]}
        if "ServerlessConfig" in item:
            return found | {"CurrentServerlessConfig": item["ServerlessConfig"]}
        count = self.counts.get(item["VariantName"], 1)
        return found | {"CurrentInstanceCount": count, "DesiredInstanceCount": count, "CurrentWeight": 1.0}

    @property
    def summary(self) -> dict[str, Any]:
        """An entry of ListEndpoints."""
        with self.lock:
            return super().summary | {"EndpointStatus": self.status, "LastModifiedTime": self.modified}


class TransformJob(Kept):
    """A transform job that lives; the worker moves it on.

    Args:
        request: CreateTransformJob's.
        account: Twelve digits.
        region: AWS region.
    """

    def __init__(self, request: Mapping[str, Any], account: str, region: str) -> None:
        super().__init__("transform-job", "TransformJob", request, account, region)
        self.status = "InProgress"
        self.failure = ""
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.stop_asked = threading.Event()

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will happen."""
        return self.status in ("Completed", "Failed", "Stopped")

    def end(self, status: str, failure: str = "") -> None:
        """End the job."""
        self.failure, self.ended, self.status = failure, now(), status

    @property
    def response_object(self) -> dict[str, Any]:
        """What DescribeTransformJob answers."""
        answer = super().response_object | {"TransformJobStatus": self.status}
        times = {"TransformStartTime": self.started, "TransformEndTime": self.ended}
        answer |= {key: value for key, value in times.items() if value}
        return answer | ({"FailureReason": self.failure[:1024]} if self.failure else {})

    @property
    def summary(self) -> dict[str, Any]:
        """An entry of ListTransformJobs."""
        return super().summary | {"TransformJobStatus": self.status}


def now() -> datetime:
    """Return the time as moto has it, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
