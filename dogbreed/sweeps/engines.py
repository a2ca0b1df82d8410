"""Who proposes values and who ends trials early, by name."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

GRID = "grid"


@dataclass(frozen=True)
class Engine:
    """What is to be known of an engine.

    Args:
        sampler: Optuna's class; empty for the grid, whose trials are all named in advance.
        options: Arguments that are better than Optuna's own.
        needs: Packages that Optuna needs for it.
        is_multi_objective: It can go by several objectives.
        constant: It draws one sequence from its seed, whichever trial asks: the seed must stay the same.
    """

    sampler: str
    options: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    is_multi_objective: bool = True
    constant: bool = False


ENGINES: Mapping[str, Engine] = {
    # Several parameters in one model, and running trials taken for bad ones, so that workers do not all ask the same.
    "tpe": Engine("TPESampler", {"multivariate": True, "constant_liar": True}),
    "random": Engine("RandomSampler", {}),
    GRID: Engine("", {}),
    "gp": Engine("GPSampler", {"warn_independent_sampling": False}, needs=("scipy",)),
    "cmaes": Engine("CmaEsSampler", {"warn_independent_sampling": False}, needs=("cmaes",), is_multi_objective=False),
    "qmc": Engine(
        "QMCSampler",
        {"scramble": True, "warn_independent_sampling": False, "warn_asynchronous_seeding": False},
        needs=("scipy",),
        constant=True,
    ),
    "nsga2": Engine("NSGAIISampler", {}),
    "nsga3": Engine("NSGAIIISampler", {}),
}

# Optuna's classes; what the sweeper's own keys are called there.
PRUNERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "median": ("MedianPruner", {"startup_trials": "n_startup_trials", "warmup_epochs": "n_warmup_steps"}),
    "percentile": ("PercentilePruner", {"startup_trials": "n_startup_trials", "warmup_epochs": "n_warmup_steps"}),
    "hyperband": ("HyperbandPruner", {"max_epochs": "max_resource"}),
    "halving": ("SuccessiveHalvingPruner", {}),
    "none": ("NopPruner", {}),
}
_PRUNER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "percentile": {"percentile": 25.0},
    "halving": {"min_resource": 1},
}


def find_engine(name: str, num_objectives: int = 1) -> Engine:
    """Look an engine up.

    Args:
        name: One of `ENGINES`.
        num_objectives: How many metrics it is to go by, >= 1.

    Raises:
        UserError: there is none of that name, it lacks a package, or it goes by one objective only.
    """
    if name not in ENGINES:
        msg = f"hydra.sweeper.engine={name} does not exist. {did_you_mean(name, ENGINES)}"
        raise UserError(msg)
    engine = ENGINES[name]
    if num_objectives > 1 and not engine.is_multi_objective:
        several = ", ".join(other for other, one in ENGINES.items() if one.is_multi_objective)
        msg = f"hydra.sweeper.engine={name} goes by one objective, and objective names {num_objectives}: use {several}."
        raise UserError(msg)
    missing = [package for package in engine.needs if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"hydra.sweeper.engine={name} needs {missing[0]}: pip install {missing[0]}, or use tpe."
        raise UserError(msg)
    return engine


def build_inner_sampler(name: str, options: Mapping[str, Any], seed: int | None, constant_seed: int) -> BaseSampler:
    """Build Optuna's sampler for one proposal.

    Args:
        name: An engine other than the grid.
        options: Further arguments of Optuna's class.
        seed: Of this proposal; None: chance.
        constant_seed: For engines that draw one sequence; of all proposals.

    Raises:
        UserError: Optuna's class takes no such arguments, or not these values.
    """
    from optuna import samplers

    engine = ENGINES[name]
    kind = getattr(samplers, engine.sampler)
    own: dict[str, Any] = {**engine.options, **options, "seed": constant_seed if engine.constant else seed}
    if name in ("cmaes", "qmc", "gp"):  # what they leave aside would otherwise be drawn from chance
        own["independent_sampler"] = samplers.RandomSampler(seed)
    return _build(kind, own, options, "engine_options")  # type: ignore[no-any-return]


def build_pruner(settings: Mapping[str, Any]) -> BasePruner:
    """Build the pruner of a study, here or in a trial's own process.

    Args:
        settings: As `pruner_settings` returns them and the study keeps them.

    Raises:
        UserError: there is none of that name, or it takes no such options.
    """
    from optuna import pruners

    name, options = str(settings["name"]), dict(settings.get("options") or {})
    if name not in PRUNERS:
        msg = f"hydra.sweeper.pruner={name} does not exist. {did_you_mean(name, PRUNERS)}"
        raise UserError(msg)
    kind, names = PRUNERS[name]
    own = {theirs: settings[ours] for ours, theirs in names.items() if settings.get(ours) is not None}
    own = {**_PRUNER_OPTIONS.get(name, {}), **own, **options}
    return _build(getattr(pruners, kind), own, options, "pruner_options")  # type: ignore[no-any-return]


def pruner_settings(
    name: str, *, startup_trials: int, warmup_epochs: int, max_epochs: int | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `build_pruner` needs, as JSON can hold it.

    Args:
        name: One of `PRUNERS`.
        startup_trials: Trials that run to the end before any is ended early.
        warmup_epochs: Epochs of each trial in which it is not ended.
        max_epochs: The most epochs that a trial can have; None if that is unknown.
        options: Further arguments of Optuna's class.

    Raises:
        UserError: as `build_pruner`.
    """
    settings = {"name": name, "startup_trials": startup_trials, "warmup_epochs": warmup_epochs}
    settings |= {"max_epochs": max_epochs, "options": dict(options)}
    build_pruner(settings)
    return settings


def _build(kind: Any, arguments: Mapping[str, Any], options: Mapping[str, Any], key: str) -> Any:
    known = set(inspect.signature(kind).parameters)
    for name in options:
        if name not in known:
            hint = did_you_mean(str(name), known - {"seed", "independent_sampler"})
            msg = f"hydra.sweeper.{key}.{name} is no argument of Optuna's {kind.__name__}. {hint}"
            raise UserError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            return kind(**arguments)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items()) or "none"
        msg = f"hydra.sweeper.{key} ({given}): Optuna's {kind.__name__} refuses that ({error})."
        raise UserError(msg) from error
