"""What training jobs and tuning jobs have in common: asked for, listed and stopped in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import Any

from dogbreed.errors import UserError
from launch.aws.errors import translated
from launch.aws.session import Aws
from launch.aws.transient import watching
from launch.protocols import JobState

# Ours carry this hyperparameter (launch.request).
OURS = "dogbreed_config_hash"
# Jobs are described so many at a time.
NUM_THREADS = 8


class UnknownJobError(UserError):
    """There is no job of a name.

    Args:
        name: That was asked for.
        region: Where.
        kind: Of jobs.
    """

    def __init__(self, name: str, region: str, kind: str = "training") -> None:
        super().__init__(
            f"There is no {kind} job {name} in {region}: python -m launch.jobs list shows those there are."
        )


class Jobs(ABC):
    """Jobs of one kind, of one account in one region.

    Args:
        aws: Credentials and region.
    """

    kind: str  # in sentences
    listing: tuple[str, str, str]  # the action that lists them, the key of its rows, that of a row's name

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.region: str = aws.region

    # Made when they are needed: each costs a tenth of a second.
    @cached_property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @cached_property
    def _watch(self) -> Any:
        return self._aws.client("sagemaker", is_patient=False)

    def describe(self, name: str) -> JobState:
        """Ask what has become of a job.

        Raises:
            TransientError: AWS cannot be reached for now.
            UnknownJobError: there is none of this name.
            UserError: AWS refuses.
        """
        with watching(f"asking for the {self.kind} job {name}"):
            try:
                return self._state(self._watch, name)
            except self._watch.exceptions.ClientError as error:
                if not is_unknown(error):
                    raise
        raise UnknownJobError(name, self.region, self.kind)

    def list_ours(self, prefix: str, limit: int) -> Sequence[JobState]:
        """List the newest jobs of this library whose names begin so.

        Args:
            prefix: Beginning of the name; empty for all.
            limit: At most so many, >= 1.

        Raises:
            UserError: AWS cannot be asked.
        """
        with translated(f"listing the {self.kind} jobs"), ThreadPoolExecutor(NUM_THREADS) as pool:
            names = self._newest(prefix)
            found: list[JobState] = []
            while len(found) < limit:
                chunk = list(islice(names, NUM_THREADS))
                if not chunk:
                    break
                states = pool.map(lambda name: self._state(self._client, name), chunk)
                found += [state for state in states if self._is_ours(state)]
        return found[:limit]

    def stop(self, name: str) -> None:
        """Ask for a job's end; one that is over stays as it is.

        Raises:
            UserError: there is none of this name, or AWS refuses.
        """
        if self.describe(name).is_over:
            return
        with translated(f"stopping the {self.kind} job {name}"):
            try:
                self._stop(name)
            except self._client.exceptions.ClientError:
                # Over since we asked: AWS refuses that in the words of any other validation.
                if not self._state(self._client, name).is_over:
                    raise

    def _newest(self, prefix: str) -> Iterator[str]:
        action, rows, key = self.listing
        asked: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
        if prefix:
            asked["NameContains"] = prefix
        for page in self._client.get_paginator(action).paginate(**asked):
            yield from (row[key] for row in page[rows] if row[key].startswith(prefix))

    @abstractmethod
    def _state(self, client: Any, name: str) -> JobState:
        """Describe a job through a client."""

    @abstractmethod
    def _stop(self, name: str) -> None:
        """Ask for a job's end, once."""

    @staticmethod
    @abstractmethod
    def _is_ours(state: JobState) -> bool:
        """Say whether a job is one of this library's."""


def is_of(description: Mapping[str, Any], request: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Say whether what AWS describes was made by a request.

    Args:
        description: AWS's answer.
        request: What was sent.
        keys: Of both, to compare by.
    """
    return all(_is_within(request.get(key), description.get(key)) for key in keys)


def _is_within(asked: Any, kept: Any) -> bool:
    """Say whether what was asked for is what is kept, defaults aside that the service has added."""
    if isinstance(asked, Mapping) and isinstance(kept, Mapping):
        return all(_is_within(value, kept.get(key)) for key, value in asked.items())
    return bool(asked == kept)


def is_unknown(error: Any) -> bool:
    """Say whether an error of AWS's means that there is nothing of that name."""
    code, message = error.response["Error"].get("Code"), error.response["Error"].get("Message", "")
    not_found = "not found" in message.lower() or "could not find" in message.lower()
    return code == "ResourceNotFound" or (code == "ValidationException" and not_found)
