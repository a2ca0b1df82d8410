"""Names and addresses of what belongs to an endpoint.

A model and a configuration are named by their content. So the same command typed twice makes nothing twice, and one
that was killed half-way goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dogbreed.errors import UserError

MAX_NAME = 63
# Tags of all that belongs to an endpoint: ours (launch.validation.TAG), and whose.
OWNER_TAG = "dogbreed-endpoint"
VARIANT = "AllTraffic"
_TOKEN_CHARS = 12
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def check_endpoint_name(name: str) -> None:
    """Refuse a name that the API would refuse.

    Raises:
        UserError: it is too long, or has other characters.
    """
    if len(name) > MAX_NAME:
        msg = f"name={name} has {len(name)} characters; an endpoint's name has at most {MAX_NAME}."
        raise UserError(msg)
    if not _NAME.fullmatch(name):
        clean = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")
        guess = f" Did you mean {clean}?" if clean else ""
        msg = f"name={name} must be letters, digits and hyphens in between.{guess}"
        raise UserError(msg)


def content_name(name: str, request: Mapping[str, Any]) -> str:
    """Name a model or a configuration of an endpoint by what it holds.

    Args:
        name: The endpoint's, or what a transform job's begins with.
        request: All of it but its name.

    Returns:
        ``NAME-0123456789ab``, at most 63 characters.

    Example:
        >>> content_name("dogs", {"Image": "a"}) == content_name("dogs", {"Image": "a"})
        True
        >>> len(content_name("d" * 63, {}))
        63
    """
    text = json.dumps(request, sort_keys=True, ensure_ascii=True)
    token = hashlib.sha256(text.encode()).hexdigest()[:_TOKEN_CHARS]
    return f"{name[: MAX_NAME - len(token) - 1].rstrip('-')}-{token}"


@dataclass(frozen=True)
class EndpointPlaces:
    """Addresses of what an endpoint reads and writes.

    Args:
        root: ``s3://BUCKET/PREFIX/endpoints/NAME``.
    """

    root: str

    @classmethod
    def of(cls, bucket: str, prefix: str, name: str) -> EndpointPlaces:
        """Return those of an endpoint."""
        return cls(f"s3://{bucket}/{prefix}/endpoints/{name}")

    @property
    def capture(self) -> str:
        """Requests and answers that are kept."""
        return f"{self.root}/capture"

    @property
    def input(self) -> str:
        """Pictures that wait for an asynchronous endpoint."""
        return f"{self.root}/input"

    @property
    def output(self) -> str:
        """Its answers."""
        return f"{self.root}/output"

    @property
    def failure(self) -> str:
        """Its refusals."""
        return f"{self.root}/failure"


def models_prefix(prefix: str) -> str:
    """Return where uploaded archives lie in a bucket; ``/SHA256/model.tar.gz`` follows."""
    return f"{prefix}/models"
