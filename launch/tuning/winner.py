"""What the jobs of a tuning job were run with, as one would type it; and the best of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from launch.overrides import from_hyperparameters
from launch.protocols import JobState
from launch.record import LaunchRecord

# How `launch.channels` writes where a channel's files are in a job.
_CHANNEL = re.compile(r'^(?P<quote>"?)\$\{oc\.env:SM_CHANNEL_(?P<name>\w+)\}(?P<rest>/.*?)?(?P=quote)$')


def typed_overrides(record: LaunchRecord, state: JobState) -> list[str]:
    """Return what all jobs of a tuning job were run with, beside what was searched, without the machine.

    Args:
        record: What its folder knows of it: what was typed.
        state: What AWS knows of it, for one without a folder here: its channels are then their places in S3.
    """
    typed = list(record.overrides) or _from_aws(state.description)
    return [override for override in typed if override.partition("=")[0].lstrip("+~") != "launch"]


def _from_aws(description: Mapping[str, Any]) -> list[str]:
    definition = description["TrainingJobDefinition"]
    places = {row["ChannelName"].upper(): _address(row) for row in definition.get("InputDataConfig") or ()}
    return _at_home(from_hyperparameters(definition.get("StaticHyperParameters") or {}), places)


def _at_home(overrides: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """Put addresses in S3 in the place of a job's folders; what has no address there is left out."""
    found = []
    for override in overrides:
        key, _, text = override.partition("=")
        channel = _CHANNEL.match(text)
        if channel is None:
            found.append(override)
        elif channel["name"] in places:
            place, rest = places[channel["name"]], channel["rest"] or ""
            is_file = bool(rest) and place.endswith(rest)
            found.append(f"{key}={json.dumps(place if is_file or not rest else place.rstrip('/') + rest)}")
    return found


def _address(channel: Mapping[str, Any]) -> str:
    return str(channel["DataSource"]["S3DataSource"]["S3Uri"])
