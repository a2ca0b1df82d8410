"""What is different in the configurations of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = object()


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of those keys, written with dots, that are not the same in all configurations.

    What a configuration does not have is `MISSING` there. Lists are compared whole.
    """
    flat = [dict(_flatten(config)) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    found = {key: [values.get(key, MISSING) for values in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flatten(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        pairs += _flatten(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return pairs
