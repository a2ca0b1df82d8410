"""What may not be touched under a name, or cannot become what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogbreed.errors import UserError
from launch.hosting.protocols import EndpointState
from launch.validation import TAG


def is_ours(tags: Mapping[str, str]) -> bool:
    """Say whether something bears our tag."""
    return TAG in tags


def check_ours(state: EndpointState, region: str) -> None:
    """Refuse an endpoint that is not ours.

    Raises:
        UserError: it lacks our tag.
    """
    if not is_ours(state.tags):
        msg = (
            f"name={state.name} is taken: there is an endpoint of this name in {region} that dogbreed has not made (it "
            "lacks our tag): choose another name."
        )
        raise UserError(msg)


def kind_of(config: Mapping[str, Any]) -> str:
    """Return what a configuration makes: ``realtime``, ``async`` or ``serverless``."""
    if any("ServerlessConfig" in variant for variant in config.get("ProductionVariants", ())):
        return "serverless"
    return "async" if config.get("AsyncInferenceConfig") else "realtime"


def check_kind(state: EndpointState, config: Mapping[str, Any] | None, wanted: str) -> None:
    """Refuse what AWS cannot turn into the other: machines into none, answers at once into later ones.

    Args:
        state: Of the endpoint.
        config: Its configuration; None if that is gone.
        wanted: The kind asked for.

    Raises:
        UserError: it is of another kind.
    """
    if config is None or kind_of(config) == wanted:
        return
    msg = (
        f"{state.name} is a {kind_of(config)} endpoint and cannot become a {wanted} one: choose another name, or "
        f"remove it first, python -m launch.endpoints delete {state.name}."
    )
    raise UserError(msg)
