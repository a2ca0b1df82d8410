"""How the Ray Serve deployment works: from the environment, and from ``user_config`` of Ray's config.yaml."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError, did_you_mean
from dogbreed.machine import num_cpus

PREFIX = "DOGBREED_"
AUTO = "auto"


@dataclass(frozen=True)
class RaySettings:
    """What a replica does, and how many there are.

    Args:
        max_batch: Pictures in a forward pass.
        max_wait_ms: How long a batch that is not full waits for more.
        max_queue: Pictures that a replica has taken in and not answered; beyond them requests get 429.
        max_body_bytes: Of a whole request.
        max_pixels: Of each picture.
        max_pictures: In one request.
        read_timeout_s: How long a body may take to arrive.
        replicas: Processes that answer.
        cores: CPU cores that each reserves and computes with.
        gpus: GPUs that each reserves; a fraction where several replicas share one; 0 computes on the CPU.
    """

    max_batch: int = 16
    max_wait_ms: float = 2.0
    max_queue: int = 128
    max_body_bytes: int = 20_000_000
    max_pixels: int = 64_000_000
    max_pictures: int = 64
    read_timeout_s: float = 30.0
    replicas: int = 1
    cores: int = 1
    gpus: float = 0.0


# The least and the most of each.
_RANGES: dict[str, tuple[float, float]] = {
    "max_batch": (1, 1024),
    "max_wait_ms": (0, 10_000),
    "max_queue": (1, 100_000),
    "max_body_bytes": (1, 1_000_000_000),
    "max_pixels": (1, 1_000_000_000),
    "max_pictures": (1, 10_000),
    "read_timeout_s": (1, 3600),
    "replicas": (1, 1024),
    "cores": (1, 1024),
    "gpus": (0, 64),
}
_WHOLE = frozenset(field.name for field in fields(RaySettings) if field.type == "int")
# What follows from the machine, and belongs to num_replicas and ray_actor_options in config.yaml.
_OF_PLACE = ("replicas", "cores", "gpus")


def read_settings(environ: Mapping[str, str]) -> RaySettings:
    """Read ``DOGBREED_MAX_BATCH`` and the like; what is not set, or ``auto``, follows from the machine.

    Args:
        environ: As `os.environ`.

    Raises:
        UserError: a value is no number, or out of range.

    Example:
        >>> read_settings({"DOGBREED_MAX_BATCH": "32", "DOGBREED_CORES": "1", "DOGBREED_GPUS": "0"}).max_batch
        32
    """
    given: dict[str, Any] = {}
    for field in fields(RaySettings):
        variable = PREFIX + field.name.upper()
        text = environ.get(variable, "").strip()
        if text and not (field.name in _OF_PLACE and text.lower() == AUTO):
            given[field.name] = _checked(field.name, text, variable)
    num_gpus = count_gpus(environ)
    given.setdefault("gpus", 1.0 if num_gpus else 0.0)
    if given["gpus"]:
        given.setdefault("replicas", max(1, int(num_gpus / given["gpus"])))
    given.setdefault("cores", max(1, num_cpus() // int(given.get("replicas", 1))))
    return RaySettings(**given)


def with_user_config(settings: RaySettings, user_config: Mapping[str, Any] | None) -> RaySettings:
    """Return settings with those of config.yaml, which count more than the environment's.

    Args:
        settings: As they are.
        user_config: ``max_batch: 32`` and the like.

    Raises:
        UserError: an unknown key, no number, or out of range.
    """
    names = [field.name for field in fields(RaySettings) if field.name not in _OF_PLACE]
    given: dict[str, Any] = {}
    for name, value in (user_config or {}).items():
        if name in _OF_PLACE:
            msg = f"user_config.{name} in config.yaml: say it as num_replicas or in ray_actor_options, which are Ray's."
            raise UserError(msg)
        if name not in names:
            msg = f"user_config.{name} in config.yaml is unknown. {did_you_mean(str(name), names)}".rstrip()
            raise UserError(msg)
        given[name] = _checked(name, str(value), f"user_config.{name} in config.yaml")
    return replace(settings, **given)


def count_gpus(environ: Mapping[str, str]) -> int:
    """Count the NVIDIA GPUs that this process may use, without loading their libraries.

    Args:
        environ: As `os.environ`; ``CUDA_VISIBLE_DEVICES`` may hide some.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([item for item in visible.split(",") if item.strip() not in ("", "-1", "NoDevFiles")])
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()])


def model_place(environ: Mapping[str, str]) -> str:
    """Return where the model folder is, if nobody says so: where SageMaker unpacks it."""
    return environ.get("DOGBREED_MODEL") or environ.get("SM_MODEL_DIR") or os.path.join("/opt", "ml", "model")


def _checked(name: str, text: str, source: str) -> float | int:
    least, most = _RANGES[name]
    kind = "a whole number" if name in _WHOLE else "a number"
    try:
        value = int(text) if name in _WHOLE else float(text)
        is_right = math.isfinite(value) and least <= value <= most
    except ValueError:
        is_right = False
    if not is_right:
        msg = f"{source}={text} must be {kind} from {least:g} to {int(most):,}."
        raise UserError(msg)
    return value
