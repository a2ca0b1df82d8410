"""What ``conf/deploy.yaml`` and ``conf/transform.yaml`` say: which model, where, on what, and what it may cost."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from launch.hosting.validation import validate_deploy, validate_transform
from launch.settings import LaunchSettings, as_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Of `LaunchSettings`, what a deployment has, too.
LAUNCH_KEYS = (
    *("region", "role", "bucket", "prefix", "subnets", "security_groups", "kms_key", "tags", "environment"),
    *("prices", "poll_s", "wait", "dry_run"),
)


@dataclass(frozen=True)
class Autoscale:
    """Machines by load.

    Args:
        min: The fewest, >= 1; an asynchronous endpoint may have 0.
        max: The most; None for no autoscaling.
        target: Requests a minute for each machine, or, asynchronous, waiting requests for each.
    """

    min: int = 1
    max: int | None = None
    target: float | None = None


@dataclass(frozen=True)
class Capture:
    """What is kept of requests and answers.

    Args:
        percent: Share of them, 0..100; 0 for none.
        output: Where in S3; None for a place below ``launch.prefix``.
    """

    percent: int = 0
    output: str | None = None


@dataclass(frozen=True)
class DeploySettings:
    """All that ``conf/deploy.yaml`` says of an endpoint.

    Args:
        model: Run folder, model folder, or the name of a training job.
        name: Of the endpoint.
        target: Which preset.
        kind: ``realtime``, ``async`` or ``serverless``; the target's.
        instance_type: ``ml.c6i.xlarge``; None where it is serverless.
        instance_count: Machines at the beginning, >= 1.
        memory_mb: Serverless: of each worker.
        max_concurrency: Serverless: requests at a time.
        provisioned_concurrency: Serverless: of them kept warm.
        max_concurrent: Asynchronous: requests at a time on each machine.
        output: Asynchronous: where answers go; None for a place below ``launch.prefix``.
        autoscale: Machines by load.
        capture: What is kept of requests and answers.
        image: ``auto``, or the address of an image whose command is ``serve``.
        image_version: Of Amazon's Ray Serve container.
        ami: Host system of machines with a GPU; ``auto``, or as the API names them.
        health_check_timeout_s: In which the container must answer its first ping.
        smoke_test: Ask it about the model folder's example.
        max_usd_per_hour: Refuse what could cost more.
        launch: Account, places, tags, what to print.

    Raises:
        UserError: a value is out of range or does not go with another.
    """

    model: str
    name: str
    target: str
    kind: str = "realtime"
    instance_type: str | None = None
    instance_count: int = 1
    memory_mb: int | None = None
    max_concurrency: int | None = None
    provisioned_concurrency: int | None = None
    max_concurrent: int | None = None
    output: str | None = None
    autoscale: Autoscale = field(default_factory=Autoscale)
    capture: Capture = field(default_factory=Capture)
    image: str = "auto"
    image_version: str = "1.4"
    ami: str = "auto"
    health_check_timeout_s: int = 600
    smoke_test: bool = True
    max_usd_per_hour: float | None = None
    launch: LaunchSettings = field(default_factory=LaunchSettings)

    def __post_init__(self) -> None:
        """Check every value by itself, then with the others."""
        validate_deploy(self)

    @property
    def is_serverless(self) -> bool:
        """Say whether it has no machines of its own."""
        return self.kind == "serverless"

    @classmethod
    def of(cls, cfg: DictConfig) -> DeploySettings:
        """Read a composed configuration.

        Raises:
            UserError: a key is missing, unknown or of the wrong kind, or as the constructor.
        """
        values = _plain(cfg, ("source", "name", "target"))
        presets = values.pop("presets")
        preset = presets.get(values["target"])
        if preset is None:
            msg = f"target={values['target']} does not exist. {did_you_mean(str(values['target']), presets)}"
            raise UserError(msg.strip())
        values |= {key: value for key, value in preset.items() if values.get(key) is None}
        _check(cls, values)
        values["autoscale"] = Autoscale(**values["autoscale"])
        values["capture"] = Capture(**values["capture"])
        return cls(**values, launch=_launch(cfg))


@dataclass(frozen=True)
class TransformSettings:
    """All that ``conf/transform.yaml`` says of a batch transform job.

    Args:
        model: Run folder, model folder, or the name of a training job.
        input: Address of pictures in S3.
        output: Where the answers go.
        name: Beginning of the job's name.
        instance_type: ``ml.c6i.xlarge``.
        instance_count: Machines that share the pictures, >= 1.
        max_concurrent: Pictures at a time on each machine, >= 1.
        max_payload_mb: Largest picture, 1..100; times ``max_concurrent`` at most 100.
        accept: What the answers are.
        image: ``auto``, or the address of an image whose command is ``serve``.
        image_version: Of Amazon's Ray Serve container.
        ami: Host system of machines with a GPU; ``auto``, or as the API names them.
        launch: Account, places, tags, what to print.

    Raises:
        UserError: a value is out of range or does not go with another.
    """

    model: str
    input: str
    output: str
    name: str | None = None
    instance_type: str = "ml.c6i.xlarge"
    instance_count: int = 1
    max_concurrent: int = 4
    max_payload_mb: int = 20
    accept: str = "application/json"
    image: str = "auto"
    image_version: str = "1.4"
    ami: str = "auto"
    launch: LaunchSettings = field(default_factory=LaunchSettings)

    def __post_init__(self) -> None:
        """Check every value."""
        validate_transform(self)

    @classmethod
    def of(cls, cfg: DictConfig) -> TransformSettings:
        """Read a composed configuration.

        Raises:
            UserError: a key is missing, unknown or of the wrong kind, or as the constructor.
        """
        values = _plain(cfg, ("source", "input", "output"))
        _check(cls, values)
        return cls(**values, launch=_launch(cfg))


def take_model(arguments: Sequence[str]) -> list[str]:
    """Rename ``model=`` on a command line: for Hydra it is a group, that of ``conf/train.yaml``.

    Example:
        >>> take_model(["model=runs/x", "name=dogs"])
        ['source=runs/x', 'name=dogs']
    """
    return [f"source={word.removeprefix('model=')}" if word.startswith("model=") else word for word in arguments]


def _plain(cfg: DictConfig, needed: tuple[str, ...]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    for key in needed:
        if OmegaConf.is_missing(cfg, key):
            examples = {"source": "model=runs/NAME", "name": "name=dogs", "target": "target=cpu"}
            example = examples.get(key, f"{key}=s3://BUCKET/PREFIX/")
            msg = f"{example.partition('=')[0]} must be given: add {example}."
            raise UserError(msg)
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    plain = {"model" if key == "source" else str(key): value for key, value in values.items() if key != "launch"}
    # What was typed as a number or a truth value is a text all the same: name=2026.
    texts = ("model", "name", "image_version")
    return {key: as_text(value) if key in texts else value for key, value in plain.items()}


def _check(cls: type, values: Mapping[str, Any]) -> None:
    from omegaconf import OmegaConf

    from dogbreed.config import check_types

    hints = typing.get_type_hints(cls)
    unknown = next((key for key in values if key not in hints), None)
    if unknown:
        msg = f"{unknown} does not exist. {did_you_mean(unknown, hints)}"
        raise UserError(msg.strip())
    nested = {"autoscale": Autoscale, "capture": Capture}
    dotted = {key: hint for key, hint in hints.items() if key not in ("launch", *nested)}
    for group, kind in nested.items():
        dotted |= {f"{group}.{key}": hint for key, hint in typing.get_type_hints(kind).items()}
    check_types(OmegaConf.create(dict(values)), dotted)


def _launch(cfg: DictConfig) -> LaunchSettings:
    from omegaconf import OmegaConf

    from dogbreed.config import check_types

    values = OmegaConf.to_container(cfg.launch, resolve=True)
    assert isinstance(values, dict)
    hints = typing.get_type_hints(LaunchSettings)
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if key not in LAUNCH_KEYS:
            msg = f"launch.{key!s} does not exist here. {did_you_mean(str(key), LAUNCH_KEYS)}"
            raise UserError(msg.strip())
        kept[str(key)] = as_text(value) if key in ("tags", "environment") else value
    check_types(OmegaConf.create({"launch": kept}), {f"launch.{key}": hints[key] for key in LAUNCH_KEYS})
    arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}
    return LaunchSettings(**arguments)
