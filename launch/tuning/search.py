"""What a tuning job searches: the sweep's parameters and the command line's ranges, held against the configuration."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from dogbreed.sweeps.space import Choice, Parameter, Real, Space, Value, override_text, parameter_text, parse_space
from launch.debugger import refuse_for_tuning
from launch.machines import find_machine
from launch.overrides import job_overrides
from launch.plan import check_fit
from launch.request import METRICS
from launch.settings import LaunchSettings
from launch.tuning.settings import TUNE_KEYS, TuneSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What all children of a tuning job share, and why.
_SHARED = {
    r"launch(\.|/|$)|trainer\.(devices|num_nodes|accelerator)$": "all jobs of a tuning job run on the same machines",
    r"data$|data\.(root|manifest|source)(\.|$)|model\.weights$": "all jobs of a tuning job get the same files",
    r"objective(_mode)?$": "a tuning job compares its jobs by one objective",
    r"hydra(\.|/|$)|(resume|checkpoint_dir|report|test_after_fit)$": "it is no property of the network that is trained",
}
# Compositions take 0.15 s each.
MAX_COMPOSED = 60


@dataclass(frozen=True)
class Search:
    """What is searched, how, and by which metric.

    Args:
        space: The parameters.
        settings: How.
        metric: The objective.
        mode: ``max`` or ``min``.
        seed: Of the values that are chosen; None leaves it to chance.
    """

    space: Space
    settings: TuneSettings
    metric: str
    mode: str
    seed: int | None = None

    @classmethod
    def of(
        cls, cfg: DictConfig, ranges: Mapping[str, str], overrides: Sequence[str], sweeper: Mapping[str, Any]
    ) -> Search:
        """Put a search together.

        Args:
            cfg: Composed from ``conf/tune.yaml``.
            ranges: Of the command line (`take_ranges`).
            overrides: As typed, without ranges; a key that has a value there is not searched.
            sweeper: The ``hydra.sweeper`` node: its ``params`` are the sweep's.

        Raises:
            UserError: there is nothing to search, a tuning job cannot search it, or a value is wrong.
        """
        from dogbreed.config import objective_mode, objectives

        fixed = {override.partition("=")[0].lstrip("+~") for override in overrides}
        texts = {**{key: text for key, text in (sweeper.get("params") or {}).items() if key not in fixed}, **ranges}
        space = parse_space(texts)
        _refuse_shared(space)
        names = objectives(cfg)
        if len(names) > 1:
            msg = f"objective=[{','.join(names)}]: a tuning job goes by one metric; name one, objective={names[0]}."
            raise UserError(msg)
        _check_metric(names[0])
        seed = sweeper.get("seed", cfg.seed)
        return cls(space, TuneSettings.of(cfg, space, sweeper), names[0], objective_mode(cfg), seed)


def take_ranges(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the ranges out of a command line, which Hydra would refuse without ``-m``.

    Args:
        arguments: As typed.

    Returns:
        The other arguments, and texts of ranges by key. Of a key that is given twice the last one counts.

    Raises:
        UserError: ``-m`` is among them, a range of what all jobs share, or what means something else here.

    Example:
        >>> take_ranges(["launch=a10g", "optim.lr=interval(0.1, 1)", "seed=1,2", "seed=3"])
        (['launch=a10g', 'seed=3'], {'optim.lr': 'interval(0.1, 1)'})
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    kept: list[str] = []
    ranges: dict[str, str] = {}
    for argument in arguments:
        if argument in ("-m", "--multirun"):
            msg = "-m is for sweeps that this machine runs; a tuning job is SageMaker's: leave it out."
            raise UserError(msg)
        if argument in ("early_stopping=true", "early_stopping=false"):
            msg = f"{argument}: early_stopping=default is a run's own; what SageMaker ends is stop_early=true."
            raise UserError(msg)
        try:
            override = None if argument.startswith("-") else parser.parse_override(argument)
        except HydraException:  # Hydra says what is wrong with it
            override = None
        if override is None:
            kept.append(argument)
            continue
        key, _, text = argument.partition("=")
        if override.is_sweep_override() and not override.is_hydra_override():
            kept = [other for other in kept if other.partition("=")[0] != key]
            ranges[key] = text
        else:
            ranges.pop(key, None)
            kept.append(argument)
    _refuse_shared(ranges)  # before Hydra complains of what is missing without them
    return kept, ranges


def run_overrides(overrides: Sequence[str]) -> list[str]:
    """Leave out what is the tuning job's and not its children's."""
    return [override for override in overrides if override.partition("=")[0].lstrip("+~") not in TUNE_KEYS]


def run_config(cfg: DictConfig) -> DictConfig:
    """Return the configuration without the keys of ``conf/tune.yaml``, as a child composes it."""
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in TUNE_KEYS])


def check_run(cfg: DictConfig, settings: LaunchSettings) -> None:
    """Refuse of a run what a tuning job's API has no place for, or what a search must not do.

    Args:
        cfg: The composed configuration.
        settings: Its ``launch`` block.

    Raises:
        UserError: names the key and the remedy.
    """
    refuse_for_tuning(settings)
    if settings.is_local:
        msg = (
            "launch=local: a tuning job is SageMaker's. Choose a machine (launch=a10g) and try it on the stand-in, "
            "python -m launch.standin; or search here, python -m dogbreed.train -m hydra/sweeper=dogbreed …"
        )
        raise UserError(msg)
    if settings.tensorboard:
        msg = (
            "launch.tensorboard=true: a tuning job's API has no place for it; leave it out, each job's run folder "
            "brings TensorBoard's files home."
        )
        raise UserError(msg)
    if cfg.test_after_fit is True:
        msg = "test_after_fit=true: what searches must not see the test split; leave it out, the winner is measured."
        raise UserError(msg)


def check_trials(cfg: DictConfig, overrides: Sequence[str], settings: LaunchSettings, space: Space) -> None:
    """Compose what children will compose: at each end of an interval, with each value of a list.

    Args:
        cfg: The composed configuration.
        overrides: As typed, without ranges.
        settings: The ``launch`` block.
        space: What is searched.

    Raises:
        UserError: no configuration knows a key or an option, or a run would not fit the machine.
    """
    from dogbreed.config import compose

    own = job_overrides(run_overrides(overrides))
    machine = find_machine(str(settings.instance_type))
    first = {key: _ends(parameter)[0] for key, parameter in space.items()}
    base = compose([*own, *(override_text(key, value) for key, value in first.items())])
    for key, parameter in space.items():
        _check_kind(cfg, key, parameter)
    check_fit(base, settings, machine)
    num_composed = 0
    for key, value in _corners(space):
        if "." in key:
            trial = _with(base, key, value)
        elif num_composed < MAX_COMPOSED:
            trial = compose([*own, *(override_text(name, one) for name, one in {**first, key: value}.items())])
            num_composed += 1
        check_fit(trial, settings, machine)
    if settings.network_isolation and any(key.partition(".")[0] == "model" for key in space):
        msg = (
            "launch.network_isolation=true with a search over model: only one network's weights travel; search over "
            "something else, or allow the network."
        )
        raise UserError(msg)


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    return parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)


def _corners(space: Space) -> Iterator[tuple[str, Value]]:
    for key, parameter in space.items():
        for value in _ends(parameter)[1:]:
            yield key, value


def _with(cfg: DictConfig, key: str, value: Value) -> DictConfig:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    trial = copy.deepcopy(cfg)
    override = OverridesParser.create().parse_override(override_text(key, value))
    OmegaConf.update(trial, override.key_or_group, override.value(), force_add=True)
    return trial


def _check_kind(cfg: DictConfig, key: str, parameter: Parameter) -> None:
    """Refuse fractions for what is counted."""
    from omegaconf import OmegaConf

    value = OmegaConf.select(cfg, key.lstrip("+"), default=None)
    # 0 and 1 may well be numbers that somebody has written short.
    if isinstance(parameter, Real) and isinstance(value, int) and not isinstance(value, bool) and value > 1:
        msg = (
            f"The range of {key}, {parameter_text(parameter)}, has fractions, and {key}={value} is a whole number: "
            f"write int(interval({parameter.low:g}, {parameter.high:g}))."
        )
        raise UserError(msg)


def _refuse_shared(space: Iterable[str]) -> None:
    for key in space:
        for pattern, why in _SHARED.items():
            if re.match(pattern, key.lstrip("+~")):
                msg = f"A tuning job cannot search over {key}: {why}. Give it one value."
                raise UserError(msg)
        if key in TUNE_KEYS:
            msg = f"{key} says how a tuning job searches, and takes one value."
            raise UserError(msg)


def _check_metric(name: str) -> None:
    if name.startswith("test/"):
        other = name.replace("test/", "val/")
        msg = f"objective={name}: what searches must not see the test split; use objective={other}."
        raise UserError(msg)
    known = [metric for metric in METRICS if not metric.startswith("test/") and metric != "epoch"]
    if name not in known:
        msg = f"objective={name} is nothing that a job's log reports. {did_you_mean(name, known)}"
        raise UserError(msg)
