"""Everything of one launch, put together from a configuration and given facts, before anything is sent."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from launch import limits
from launch.channels import Channel, Routing, route
from launch.debugger import WHY_NONE, debugger_request
from launch.facts import Facts
from launch.machines import Machine, check_machine, find_machine
from launch.names import JobPlaces, Places, base_name, job_name
from launch.overrides import check_hyperparameters, job_overrides, to_hyperparameters
from launch.pricing import Cost, check_cap, most_usd
from launch.request import CHANNELS, container_hyperparameters, training_job
from launch.settings import LaunchSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Plan:
    """One launch.

    Args:
        settings: The ``launch`` block.
        name: Of the job.
        region: Where it goes.
        places: Where its files go.
        channels: What travels, each with its address in S3.
        overrides: From which the job composes its configuration.
        request: The action's.
        cost: The most that it can cost.
        facts: What it was made from.
        notes: What the user should know, in sentences.
        action: Of the API: CreateTrainingJob, or CreateHyperParameterTuningJob (`launch.tuning.plan`).
    """

    settings: LaunchSettings
    name: str
    region: str
    places: JobPlaces
    channels: tuple[tuple[Channel, str], ...]
    overrides: tuple[str, ...]
    request: Mapping[str, Any]
    cost: Cost
    facts: Facts
    notes: tuple[str, ...]
    action: str = "CreateTrainingJob"

    @property
    def uploads(self) -> tuple[tuple[Channel, str], ...]:
        """The channels that lie on this machine, each with its address in S3."""
        return tuple((channel, address) for channel, address in self.channels if channel.is_local)


def plan_routing(
    cfg: DictConfig,
    overrides: Sequence[str],
    *,
    pretrained: Path | str | None = None,
    wheels: Path | str | None = None,
) -> Routing:
    """Find out what must be uploaded before a plan can have addresses; arguments as those of `make_plan`."""
    return route(cfg, job_overrides(overrides), LaunchSettings.of(cfg), pretrained=pretrained, wheels=wheels)


def make_plan(
    cfg: DictConfig,
    overrides: Sequence[str],
    facts: Facts,
    *,
    choices: Mapping[str, str | None] | None = None,
    pretrained: Path | str | None = None,
    wheels: Path | str | None = None,
    naming: Callable[[str, datetime, str], str] = job_name,
) -> Plan:
    """Put one launch together.

    Args:
        cfg: The composed configuration, ``auto`` values not yet resolved: the job resolves them, on its own machine.
        overrides: As typed.
        facts: What an account knows, and the code.
        choices: Group to option, as Hydra knows them, for the job's name.
        pretrained: The hub's weights, for a job without a network.
        wheels: Libraries, likewise.
        naming: Makes a name of its beginning, the time and a token.

    Raises:
        UserError: values contradict each other or the machine, a path is none, the API would refuse the request, or it
            could cost more than ``launch.max_cost_usd``.
    """
    settings = LaunchSettings.of(cfg)
    machine = None if settings.is_local else find_machine(str(settings.instance_type))
    num_devices = check_fit(cfg, settings, machine)
    routing = route(cfg, job_overrides(overrides), settings, pretrained=pretrained, wheels=wheels)
    places = Places(facts.bucket, settings.prefix)
    code = places.code(facts.bundle.digest)
    channels = tuple((channel, _address(channel, facts, places)) for channel in routing.channels)
    if settings.network_isolation and not settings.is_local:  # the toolkit could not fetch it from S3
        channels = ((Channel("code", code), code), *channels)
        code = f"{CHANNELS}/code/{PurePosixPath(code).name}"
    name = naming(base_name(settings, cfg, choices or {}), facts.now, facts.token)
    hyperparameters = {
        **to_hyperparameters(routing.overrides),
        **container_hyperparameters(
            code=code,
            region=facts.region,
            job_name=name,
            is_distributed=num_devices > 1 and (settings.instance_count > 1 or _has_gpus(cfg, machine)),
            revision=facts.bundle.revision,
            config_hash=_hash_in_job(cfg, routing),
        ),
    }
    check_hyperparameters(hyperparameters)
    job_places = places.job(name)
    request = training_job(
        settings,
        name=name,
        role_arn=facts.role_arn,
        image=facts.image,
        places=job_places,
        channels=channels,
        hyperparameters=hyperparameters,
        debugger=debugger_request(cfg, settings, job_places, facts.rule_image, num_devices=num_devices),
        version=facts.version,
    )
    limits.check(request)
    cost = most_usd(request, facts.region, facts.prices)
    if not settings.is_local:
        check_cap(cost, settings.max_cost_usd)
    notes = tuple(_notes(settings, machine, num_devices))
    return Plan(settings, name, facts.region, job_places, channels, routing.overrides, request, cost, facts, notes)


def check_fit(cfg: DictConfig, settings: LaunchSettings, machine: Machine | None) -> int:
    """Hold the run against the machine, before it is paid for.

    Args:
        cfg: The composed configuration.
        settings: The ``launch`` block.
        machine: What it runs on; None where nothing is known of it.

    Returns:
        How many devices train.

    Raises:
        UserError: the run does not fit.
    """
    nodes = int(cfg.trainer.num_nodes)
    if nodes != settings.instance_count:
        msg = (
            f"trainer.num_nodes={nodes} and launch.instance_count={settings.instance_count} mean the same: give the "
            "same number for both."
        )
        raise UserError(msg)
    devices = _num_devices(cfg, machine)
    if machine:
        check_machine(
            machine,
            precision=str(cfg.trainer.precision),
            devices=devices,
            num_nodes=nodes,
            accelerator=str(cfg.trainer.accelerator),
            image=settings.image,
        )
        if settings.volume_kms_key and machine.has_disk:
            msg = (
                f"launch.volume_kms_key: {machine.instance_type} has a disk of its own, which is encrypted anyway and "
                "takes no key: leave it out."
            )
            raise UserError(msg)
    count = devices * nodes
    batch = int(cfg.data.batch_size)
    if batch % count or batch < count:
        msg = f"data.batch_size={batch} cannot be shared by {count} devices: use {max(1, batch // count) * count}."
        raise UserError(msg)
    return count


def _num_devices(cfg: DictConfig, machine: Machine | None) -> int:
    from omegaconf import OmegaConf

    value = cfg.trainer.devices
    if OmegaConf.is_list(value):
        return len(value)
    try:
        number = 1 if value == "auto" else int(value)
    except ValueError as error:
        msg = f"trainer.devices={value} names no devices: give a number (2)."
        raise UserError(msg) from error
    if number == -1:
        return max(1, machine.num_gpus) if machine else 1
    if number < 1:
        msg = f"trainer.devices={value} trains on nothing: give a number from 1."
        raise UserError(msg)
    return number


def _has_gpus(cfg: DictConfig, machine: Machine | None) -> bool:
    return machine.num_gpus > 0 if machine else str(cfg.trainer.accelerator) in ("gpu", "cuda")


def _hash_in_job(cfg: DictConfig, routing: Routing) -> str:
    """Hash the configuration as the job composes it: of places it counts only whether they are named."""
    from omegaconf import OmegaConf

    from dogbreed.config.hashing import config_hash

    there = copy.deepcopy(cfg)
    OmegaConf.set_struct(there, False)
    for key, text in routing.replaced.items():
        OmegaConf.update(there, key, None if text == "null" else text.replace("${", "\\${"))
    return config_hash(there)


def _address(channel: Channel, facts: Facts, places: Places) -> str:
    """Return where a channel lies; folders end with a slash, since `a/b` would be the beginning of `a/bc`, too."""
    if channel.name in facts.addresses:
        return facts.addresses[channel.name]
    if isinstance(channel.source, Path):
        return places.data(f"<sha256 of {channel.name}>")
    is_file = channel.name == "weights" or (channel.name == "manifest" and not channel.source.endswith("/"))
    return channel.source if is_file else channel.source.rstrip("/") + "/"


def _notes(settings: LaunchSettings, machine: Machine | None, num_devices: int) -> list[str]:
    notes = []
    if not settings.is_local and machine is None:
        notes.append(f"{settings.instance_type} is not in our table: whether the run fits it is not checked.")
    if machine and machine.num_gpus > num_devices:
        notes.append(f"{machine.instance_type} has {machine.num_gpus} GPUs, and the run uses {num_devices} of them.")
    if settings.debugger is None and not settings.is_local:
        notes.append(WHY_NONE)
    return notes
