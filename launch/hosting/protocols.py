"""What the rooms of `launch.hosting` ask of the cloud; `launch.aws.endpoints` and its neighbours answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Of an endpoint: something is being done with it, and nothing else can be done meanwhile.
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True)
class EndpointState:
    """What has become of an endpoint.

    Args:
        name: Of it.
        status: ``Creating``, ``InService``, ``Updating``, ``Failed``, ``Deleting``, ….
        failure: Why it failed, or its last update; empty if nothing did.
        config_name: Of the configuration that answers.
        pending_config: Of the one that is to answer when an update is done; None without one.
        tags: Key to value.
        created: When it was made.
        description: DescribeEndpoint's whole answer.
    """

    name: str
    status: str
    failure: str
    config_name: str
    pending_config: str | None
    tags: Mapping[str, str]
    created: datetime
    description: Mapping[str, Any]

    @property
    def is_in_progress(self) -> bool:
        """Say whether something is being done with it."""
        return self.status in IN_PROGRESS

    @property
    def variants(self) -> Sequence[Mapping[str, Any]]:
        """What answers, with the number of machines."""
        return self.description.get("ProductionVariants") or ()


@dataclass(frozen=True)
class Resource:
    """A model, a configuration or an endpoint that was listed.

    Args:
        kind: ``model``, ``configuration`` or ``endpoint``.
        name: Of it.
        arn: Of it.
        created: When it was made.
        tags: Key to value.
        status: Of an endpoint; empty for others.
    """

    kind: str
    name: str
    arn: str
    created: datetime
    tags: Mapping[str, str]
    status: str = ""
