"""Remove an endpoint and what belongs to it; nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from launch.follow import say
from launch.hosting.names import MAX_NAME, OWNER_TAG
from launch.hosting.protocols import Resource
from launch.hosting.waiting import delete_patiently

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints

# Of the endpoint's name, what its models' and configurations' begin with at least.
_KEPT_CHARS = MAX_NAME - 13


def remove_endpoint(service: Endpoints, name: str, poll_s: float) -> list[str]:
    """Remove an endpoint, its autoscaling, configurations and models; what is gone already is passed over.

    Args:
        service: Where it is.
        name: Of it.
        poll_s: Seconds between two looks.

    Returns:
        What was removed, in words.

    Raises:
        UserError: AWS refuses; calling again goes on.
    """
    from launch.aws.scaling import remove_scaling

    # First what is paid for.
    removed = [f"endpoint {name}"] if delete_patiently(service, name, poll_s) else []
    try:
        if remove_scaling(service.aws, name):
            removed.append("autoscaling")
    except UserError as error:  # a right of its own, which an account may not give; AWS forgets it with the endpoint
        say(f"Autoscaling is not looked at: {error}")
    return removed + remove_belongings(service, name)


def remove_belongings(service: Endpoints, name: str, keep: Collection[str] = ()) -> list[str]:
    """Remove configurations and models that bear an endpoint's name in their tag.

    Args:
        service: Where they are.
        name: Of the endpoint.
        keep: Names of those that are in use.

    Returns:
        What was removed, in words.

    Raises:
        UserError: AWS refuses; calling again goes on.
    """
    return [
        f"{found.kind} {found.name}"
        for found in belongings(service, name)
        if found.name not in keep and service.delete(found.kind, found.name)
    ]


def belongings(service: Endpoints, name: str) -> list[Resource]:
    """List configurations, then models, that bear an endpoint's name in their tag."""
    start = name[:_KEPT_CHARS].rstrip("-")
    found = [resource for kind in ("configuration", "model") for resource in service.list_all(kind, start)]
    return [resource for resource in found if resource.tags.get(OWNER_TAG) == name]


def models_of(service: Endpoints, config_name: str) -> list[str]:
    """Return the models that a configuration names; none if it is gone."""
    config = service.describe("configuration", config_name) if config_name else None
    variants = config["ProductionVariants"] if config else ()
    return [variant["ModelName"] for variant in variants if variant.get("ModelName")]
