"""Addresses of Amazon's containers, out of the tables that come with sagemaker-core.

The tables are read as files. `sagemaker.core.image_uris.retrieve` gives the same addresses (a test compares them), but
importing it takes seconds.
"""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError, did_you_mean, shorten
from launch.aws.errors import INSTALL

FRAMEWORK, SERVING = "pytorch-amzn2023", "ray-serve"
# Hosts of registries outside the main partition.
_HOSTS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}


def training_image(version: str, region: str, instance_type: str) -> str:
    """Return the address of Amazon's PyTorch training container.

    Args:
        version: Of PyTorch, ``2.13``.
        region: AWS region.
        instance_type: ``ml.g5.xlarge``; one with a GPU gets the CUDA build.

    Raises:
        UserError: there is none of this version, or not in this region; sagemaker-core is not installed.
    """
    return _image(_table(FRAMEWORK)["training"], version, region, instance_type, "PyTorch", "launch.")


def serving_image(version: str, region: str, instance_type: str | None) -> str:
    """Return the address of Amazon's Ray Serve container, for which ``model.tar.gz`` is made.

    Args:
        version: Of the container, ``1.4``.
        region: AWS region.
        instance_type: ``ml.g5.xlarge``; one with a GPU gets the CUDA build. None for a serverless endpoint.

    Raises:
        UserError: there is none of this version, or not in this region; sagemaker-core is not installed.
    """
    return _image(_table(SERVING), version, region, instance_type or "", "Ray Serve", "")


def rule_image(region: str) -> str:
    """Return the address of the container that evaluates Debugger's built-in rules.

    Raises:
        UserError: there is none in this region; sagemaker-core is not installed.
    """
    found = _table("debugger")["versions"]["latest"]
    if region not in found["registries"]:
        msg = (
            f"SageMaker Debugger's rules do not run in {region}: launch/debugger=none (our own run in every job). "
            f"{did_you_mean(region, found['registries'])}"
        )
        raise UserError(msg.strip())
    return _address(found, region, "latest")


def has_gpu(instance_type: str) -> bool:
    """Say whether an instance type has an NVIDIA GPU, by its family's letter, as the SDK does.

    Example:
        >>> [has_gpu(name) for name in ("ml.g5.xlarge", "ml.p4d.24xlarge", "ml.m5.large")]
        [True, True, False]
    """
    return bool(re.match(r"ml\.[gp]\d", instance_type))


def _image(table: dict[str, Any], version: str, region: str, instance_type: str, what: str, group: str) -> str:
    found = table["versions"].get(table.get("version_aliases", {}).get(version, version))
    if found is None:
        versions = sorted(table["versions"], key=_as_numbers)
        msg = f"{group}image_version={version}: Amazon has {what} containers of {', '.join(versions)}."
        raise UserError(msg)
    if region not in found["registries"]:
        others = [name for name, other in table["versions"].items() if region in other["registries"]]
        remedy = (
            f"there, {group}image_version={max(others, key=_as_numbers)} is the newest"
            if others
            else f"regions that have one: {shorten(sorted(found['registries']), 8)}"
        )
        msg = f"Amazon has no {what} {version} container in {region}: {remedy}; or name an image, {group}image=ADDRESS."
        raise UserError(msg)
    parts = [found.get("tag_prefix", version), found["container_version"]["gpu" if has_gpu(instance_type) else "cpu"]]
    return _address(found, region, "-".join(parts))


def _address(found: dict[str, Any], region: str, tag: str) -> str:
    host = next((name for start, name in _HOSTS.items() if region.startswith(start)), "amazonaws.com")
    return f"{found['registries'][region]}.dkr.ecr.{region}.{host}/{found['repository']}:{tag}"


@cache
def _table(name: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("sagemaker")  # its parts are not imported by this
    for folder in spec.submodule_search_locations or () if spec else ():
        file = Path(folder) / "core" / "image_uri_config" / f"{name}.json"
        if file.is_file():
            table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return table
    raise UserError(INSTALL)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
