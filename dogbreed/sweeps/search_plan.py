"""From Hydra's configuration to what is to be searched: read, checked and hashed before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dogbreed.config import check_objectives, group_options, objective_modes, objectives, resolve
from dogbreed.config.hashing import config_hash, hash_of
from dogbreed.errors import UserError
from dogbreed.run_files import STUDY_DB
from dogbreed.sweeps.arguments import Layout, bare, read_arguments, trial_overrides
from dogbreed.sweeps.database import require_optuna, shown, sqlite_address
from dogbreed.sweeps.distributions import proposal_of, to_distributions
from dogbreed.sweeps.engines import GRID, find_engine, pruner_settings
from dogbreed.sweeps.opening import StudyPlan
from dogbreed.sweeps.settings import SearchSweeperConf, check_settings
from dogbreed.sweeps.shares import shares_of_this_machine
from dogbreed.sweeps.space import Choice, Parameter, Space, Value, Whole, parse_space

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

# Launchers whose jobs run on other machines, which reach no storage of ours.
FAR_LAUNCHERS = ("sagemaker",)
# Settings with which a search is the same: how long it goes on, and how.
_NOT_IDENTITY = ("_target_", "n_trials", "n_jobs", "max_batch_size", "heartbeat_s", "timeout_s", "max_failed", "params")


@dataclass(frozen=True)
class SearchPlan:
    """All that a search is.

    Args:
        settings: The sweeper's.
        study: What the study is; its storage is settled.
        layout: Overrides of the trials, with slots for what is searched.
        base: The configuration that they share.
        folder: Of the sweep.
        launcher: Hydra's name of who runs trials.
        prunes: Trials are told where the study is, and may be ended early.
    """

    settings: SearchSweeperConf
    study: StudyPlan
    layout: Layout
    base: DictConfig
    folder: Path
    launcher: str
    prunes: bool

    @property
    def n_trials(self) -> int | None:
        """Finished trials that the study shall have; None: those that are named."""
        return self.settings.n_trials

    def overrides(self, values: Mapping[str, Value], number: int) -> list[str]:
        """Return the overrides of a trial.

        Args:
            values: Of the search space.
            number: Its number in the study.
        """
        told: dict[str, Value] = {}
        if self.prunes:
            told = {"trial.storage": self.study.storage, "trial.study": self.study.name, "trial.number": number}
        return trial_overrides(self.layout, values, told)


def plan_search(settings: Mapping[str, Any], config: DictConfig, loader: ConfigLoader) -> SearchPlan:
    """Read what is to be searched.

    Args:
        settings: The sweeper's, as Hydra gives them.
        config: Of the sweep, ``hydra`` included.
        loader: Composes the trials' configurations.

    Raises:
        UserError: anything is wrong with it.
        hydra.errors.HydraException: a key or an option does not exist.
    """
    require_optuna()
    checked = check_settings(dict(settings))
    layout, space = _read(checked, config, loader)
    base, is_own = _base(loader, config, layout, space)
    names, modes = _objectives(base)
    engine = find_engine(checked.engine, len(names))
    if engine.sampler:
        to_distributions(space)  # refuses what Optuna cannot search
    _check_keys(loader, config, layout, space)
    launcher = str(config.hydra.runtime.choices["hydra/launcher"])
    _check_devices(checked, base, launcher)
    pruner = pruner_settings(
        checked.pruner,
        startup_trials=checked.pruner_startup_trials,
        warmup_epochs=checked.pruner_warmup_epochs,
        max_epochs=_max_epochs(base, space),
        options=plain(checked.pruner_options),
    )
    folder = Path(str(config.hydra.sweep.dir))
    study = StudyPlan(
        storage=checked.storage or sqlite_address(folder / STUDY_DB),
        name=checked.study_name or f"{_stem(config)}-{_study_hash(checked, base, space)}",
        space=space,
        engine=checked.engine,
        seed=checked.seed,
        engine_options=plain(checked.engine_options),
        pruner=pruner,
        objectives=names,
        modes=modes,
        config=_config_hash(base),
        is_own_file=checked.storage is None,
        default=_default_values(base, space) if is_own and checked.default_trial and checked.engine != GRID else None,
    )
    return SearchPlan(checked, study, layout, base, folder, launcher, _prunes(checked, base, launcher, len(names)))


def sweep_hash(config: DictConfig) -> str:
    """Hash what makes two searches the same: all but where they go and how many trials they have.

    Args:
        config: Of the sweep, ``hydra`` included; its sweeper is ours.
    """
    settings = plain(config.hydra.sweeper)
    _, texts = read_arguments([str(one) for one in config.hydra.overrides.task], settings["params"])
    kept = {key: value for key, value in settings.items() if key not in _NOT_IDENTITY}
    places = [str(OmegaConf.select(config, key)) for key in ("data.root", "data.manifest", "model.weights")]
    # Hydra leaves out of a sweep's configuration what is searched.
    return hash_of(repr([sorted(kept.items()), list(texts.items()), places, _config_hash(config)]))


def plain(node: Any) -> dict[str, Any]:
    """Return a node of a configuration as a dictionary."""
    found: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(found)


def _read(settings: SearchSweeperConf, config: DictConfig, loader: ConfigLoader) -> tuple[Layout, Space]:
    arguments = [str(one) for one in config.hydra.overrides.task]
    layout, texts = read_arguments(arguments, settings.params, loader)
    return [one for one in layout if not (isinstance(one, str) and _is_folder(one))], parse_space(texts)


def _is_folder(override: str) -> bool:
    """Say whether an override names the sweep that goes on, which is no matter of its trials."""
    key, _, value = override.partition("=")
    return bare(key) == "resume" and value not in ("auto", "never")


def _base(loader: ConfigLoader, config: DictConfig, layout: Layout, space: Space) -> tuple[DictConfig, bool]:
    """Compose what the trials share; say whether that is without any searched value.

    What was typed may be about an option that is searched: ``optim=sgd,adamw optim.weight_decay=0``.
    """
    from hydra.errors import HydraException

    try:
        return _compose(loader, config, trial_overrides(layout, {})), True
    except HydraException:
        first = {key: _example(parameter) for key, parameter in space.items()}
        return _compose(loader, config, trial_overrides(layout, first)), False


def _compose(loader: ConfigLoader, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    return loader.load_sweep_config(config, list(overrides))


def _objectives(base: DictConfig) -> tuple[list[str], list[str]]:
    if base.get("objective") is None:  # another application, whose task returns what is to be small
        return ["value"], ["min"]
    check_objectives(base)
    return objectives(base), objective_modes(base)


def _check_keys(loader: ConfigLoader, config: DictConfig, layout: Layout, space: Space) -> None:
    """Compose a trial before there is any, and one for each option of a group: what does not exist is said now."""
    first = {key: _example(parameter) for key, parameter in space.items()}
    _compose(loader, config, trial_overrides(layout, first))
    groups = group_options()
    for key, parameter in space.items():
        if isinstance(parameter, Choice) and bare(key) in groups:
            for value in parameter.values[1:]:
                _compose(loader, config, trial_overrides(layout, {**first, key: value}))


def _example(parameter: Parameter) -> Value:
    return parameter.values[0] if isinstance(parameter, Choice) else parameter.low


def _check_devices(settings: SearchSweeperConf, base: DictConfig, launcher: str) -> None:
    """Refuse more trials at a time than there are GPUs for."""
    if settings.n_jobs > 1 and launcher not in FAR_LAUNCHERS and base.get("trainer"):
        shares_of_this_machine(base, settings.n_jobs)


def _prunes(settings: SearchSweeperConf, base: DictConfig, launcher: str, num_objectives: int) -> bool:
    """Say whether trials report to the study; a line says why not where that could be expected."""
    if settings.pruner == "none" or "trial" not in base:
        return False
    if num_objectives > 1:
        log.info("sweep   no trial is ended early: there are several objectives")
        return False
    if launcher in FAR_LAUNCHERS:
        log.info("sweep   no trial is ended early: jobs of hydra/launcher=%s cannot reach the study", launcher)
        return False
    return True


def _max_epochs(base: DictConfig, space: Space) -> int | None:
    """Return the most epochs that a trial can have."""
    parameter = space.get("trainer.max_epochs")
    if isinstance(parameter, Whole):
        return parameter.high
    if isinstance(parameter, Choice):
        return max((value for value in parameter.values if isinstance(value, int)), default=None)
    value = OmegaConf.select(base, "trainer.max_epochs")
    return value if isinstance(value, int) and value > 0 else None


def _default_values(base: DictConfig, space: Space) -> dict[str, Value] | None:
    """Return the configuration's own values, as far as the space holds them; None if it holds none."""
    resolved = base
    if "data" in base and any(OmegaConf.select(base, bare(key)) == "auto" for key in space):
        resolved = _resolved(base)
    found: dict[str, Value] = {}
    for key, parameter in space.items():
        value = base.hydra.runtime.choices.get(key, OmegaConf.select(resolved, bare(key)))
        try:
            proposal_of(parameter, value)
        except ValueError:
            continue
        found[key] = value
    return found or None


def _resolved(base: DictConfig) -> DictConfig:
    """Decide what ``auto`` means without any searched value; as it is, where that is not possible."""
    cfg = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
    try:
        return resolve(cfg, is_trial=True)[0]
    except UserError:  # the trials' own business
        return base


def _config_hash(base: DictConfig) -> str:
    if "objective" in base:
        return config_hash(base)
    cfg = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
    return hash_of(OmegaConf.to_yaml(cfg, sort_keys=True))


def _study_hash(settings: SearchSweeperConf, base: DictConfig, space: Space) -> str:
    """Hash what the same command has on every machine: places of data may differ."""
    about = [settings.engine, settings.seed, plain(settings.engine_options), sorted(to_texts(space).items())]
    return hash_of(repr([*about, settings.default_trial, _config_hash(base)]))[:8]


def to_texts(space: Space) -> dict[str, str]:
    """Write a space's parameters as texts."""
    from dogbreed.sweeps.space import parameter_text

    return {key: parameter_text(parameter) for key, parameter in space.items()}


def _stem(config: DictConfig) -> str:
    return str(config.hydra.runtime.choices.get("sweep") or "search")


def describe(plan: SearchPlan) -> str:
    """Say in a line what is searched, by whom, and where it is kept."""
    where = "" if plan.settings.storage is None else f", study {plan.study.name} in {shown(plan.study.storage)}"
    wanted = "all combinations" if plan.n_trials is None else f"{plan.n_trials} trials"
    return f"search  {wanted} over {', '.join(plan.study.space)} by {plan.study.engine}{where}"
