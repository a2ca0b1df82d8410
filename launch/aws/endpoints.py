"""Endpoints of the real SageMaker, or of the stand-in, with the models and configurations that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

from dogbreed.errors import UserError
from launch.aws.errors import error_code, translated
from launch.aws.jobs import NUM_THREADS, is_unknown
from launch.aws.session import Aws
from launch.aws.transient import watching
from launch.hosting.protocols import EndpointState, Resource

# Kind: how the API names it, and how boto3's methods do.
_API = {
    "model": ("Model", "model"),
    "configuration": ("EndpointConfig", "endpoint_config"),
    "endpoint": ("Endpoint", "endpoint"),
}
LOG_GROUP = "/aws/sagemaker/Endpoints"


class Endpoints:
    """Endpoints of one account in one region.

    Args:
        aws: Credentials and region.
    """

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.region: str = aws.region

    # Made when they are needed: each costs a tenth of a second.
    @cached_property
    def _client(self) -> Any:
        return self.aws.client("sagemaker")

    @cached_property
    def _watch(self) -> Any:
        return self.aws.client("sagemaker", is_patient=False)

    def find(self, name: str) -> EndpointState | None:
        """Ask what has become of an endpoint; None if there is none of this name.

        Raises:
            TransientError: AWS cannot be reached for now.
            UserError: AWS refuses.
        """
        with watching(f"asking for the endpoint {name}"):
            try:
                found = self._watch.describe_endpoint(EndpointName=name)
                tags = self._tags(self._watch, found["EndpointArn"])
            except self._watch.exceptions.ClientError as error:
                if is_unknown(error):
                    return None
                raise
        pending = (found.get("PendingDeploymentSummary") or {}).get("EndpointConfigName")
        kept = {key: value for key, value in found.items() if key != "ResponseMetadata"}
        return EndpointState(
            name,
            found["EndpointStatus"],
            found.get("FailureReason", ""),
            found.get("EndpointConfigName", ""),
            pending,
            tags,
            found["CreationTime"],
            kept,
        )

    def describe(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return what AWS says of a model or a configuration; None if there is none of this name.

        Raises:
            UserError: AWS refuses.
        """
        api, method = _API[kind]
        with translated(f"asking for the {kind} {name}"):
            try:
                answer: dict[str, Any] = getattr(self._client, f"describe_{method}")(**{f"{api}Name": name})
            except self._client.exceptions.ClientError as error:
                if is_unknown(error):
                    return None
                raise
        return answer

    def create(self, kind: str, request: Mapping[str, Any]) -> bool:
        """Make a model or a configuration, whose name says what it holds; False if it was there already.

        Raises:
            UserError: AWS refuses.
        """
        api, method = _API[kind]
        name = str(request[f"{api}Name"])
        if self.describe(kind, name) is not None:
            return False
        with translated(f"making the {kind} {name}"):
            try:
                getattr(self._client, f"create_{method}")(**request)
            except self._client.exceptions.ClientError as error:
                if _exists_already(error):  # the answer to a first attempt was lost, or another call was faster
                    return True
                raise
        return True

    def create_endpoint(self, request: Mapping[str, Any]) -> None:
        """Ask for an endpoint; one whose answer was lost on the way is not a clash with itself.

        Raises:
            UserError: AWS refuses, or somebody else has taken the name meanwhile.
        """
        name = str(request["EndpointName"])
        with translated(f"making the endpoint {name}"):
            try:
                self._client.create_endpoint(**request)
            except self._client.exceptions.ClientError as error:
                if not _exists_already(error):
                    raise
                found = self.find(name)
                if found is None or found.config_name != request["EndpointConfigName"]:
                    msg = f"the name is taken by another endpoint in {self.region}: choose another one, name=NAME."
                    raise UserError(msg) from error

    def update_endpoint(self, request: Mapping[str, Any]) -> None:
        """Ask for another configuration of an endpoint.

        Raises:
            UserError: AWS refuses.
        """
        name = request["EndpointName"]
        with translated(f"updating the endpoint {name}"):
            try:
                self._client.update_endpoint(**request)
            except self._client.exceptions.ClientError as error:
                found = self.find(name) if is_busy(error) else None
                if found is None or request["EndpointConfigName"] not in (found.pending_config, found.config_name):
                    raise

    def delete(self, kind: str, name: str) -> bool:
        """Delete a model, a configuration or an endpoint; False if there is none.

        Raises:
            BusyError: something is being done with the endpoint, until whose end it cannot be deleted.
            UserError: AWS refuses.
        """
        api, method = _API[kind]
        with translated(f"deleting the {kind} {name}"):
            try:
                getattr(self._client, f"delete_{method}")(**{f"{api}Name": name})
            except self._client.exceptions.ClientError as error:
                if is_unknown(error):
                    return False
                if is_busy(error):
                    msg = f"The endpoint {name} is being made or changed: it can be deleted when that is over."
                    raise BusyError(msg) from error
                raise
        return True

    def list_all(self, kind: str, name_contains: str = "") -> list[Resource]:
        """List what is there of a kind, ours and others', the newest first.

        Args:
            kind: ``model``, ``configuration`` or ``endpoint``.
            name_contains: Only those whose names hold this.

        Raises:
            UserError: AWS cannot be asked.
        """
        api, method = _API[kind]
        with translated(f"listing the {kind}s"), ThreadPoolExecutor(NUM_THREADS) as pool:
            asked = {"SortBy": "CreationTime", "SortOrder": "Descending"}
            if name_contains:
                asked["NameContains"] = name_contains
            pages = self._client.get_paginator(f"list_{method}s").paginate(**asked)
            rows = [row for page in pages for row in page[f"{api}s"]]
            tags = pool.map(lambda row: self._tags_or_none(row[f"{api}Arn"]), rows)
            return [
                Resource(
                    kind,
                    row[f"{api}Name"],
                    row[f"{api}Arn"],
                    row["CreationTime"],
                    found,
                    row.get("EndpointStatus", ""),
                )
                for row, found in zip(rows, tags, strict=True)
                if found is not None
            ]

    def log_tail(self, name: str, num_lines: int) -> list[str]:
        """Return the last lines of an endpoint's youngest container; none where the log cannot be read."""
        logs = self.aws.client("logs", is_patient=False)
        group = f"{LOG_GROUP}/{name}"
        with suppress(UserError), translated(f"reading the log of {name}"):
            pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
            streams = [stream for page in pages for stream in page["logStreams"]]
            if streams:
                youngest = max(streams, key=lambda stream: int(stream.get("creationTime", 0)))["logStreamName"]
                answer = logs.get_log_events(
                    logGroupName=group, logStreamName=youngest, startFromHead=False, limit=num_lines
                )
                return [event["message"].rstrip("\n") for event in answer["events"]]
        return []

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of something.

        Raises:
            UserError: AWS refuses.
        """
        with translated("asking for tags"):
            return self._tags(self._client, arn)

    def _tags_or_none(self, arn: str) -> dict[str, str] | None:
        try:
            return self._tags(self._client, arn)
        except self._client.exceptions.ClientError as error:
            if is_unknown(error):  # gone since it was listed
                return None
            raise

    @staticmethod
    def _tags(client: Any, arn: str) -> dict[str, str]:
        pages: Iterator[Any] = client.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


class BusyError(UserError):
    """Something is being done with an endpoint."""


def is_busy(error: Exception) -> bool:
    """Say whether AWS refuses since something is being done with an endpoint."""
    return "in-progress endpoint" in _message(error).lower()


def _exists_already(error: Exception) -> bool:
    return error_code(error) in ("ResourceInUse", "ValidationException") and "already exist" in _message(error).lower()


def _message(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Message", ""))
