"""The keys of ``hydra.sweeper`` with ``hydra/sweeper=dogbreed``: the plugin's schema, and what values they may have.

Hydra's discovery imports this module at every start: it imports next to nothing.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Optional

from dogbreed.errors import UserError

TARGET = "hydra_plugins.dogbreed_optuna.sweeper.SearchSweeper"
# What Hydra's choices name the sweeper.
SWEEPER = "dogbreed"


@dataclass
class SearchSweeperConf:
    """``hydra.sweeper``: what is searched, how, and for how long.

    Args:
        engine: Who proposes values: a name of `dogbreed.sweeps.engines.ENGINES`.
        n_trials: Trials (completed or pruned) that the study shall have in the end, >= 1; null with engine=grid: all.
        n_jobs: Trials at a time, >= 1.
        params: Search space: key to a text in Hydra's sweep grammar (`dogbreed.sweeps.space`).
        storage: Address of the study's database; null: the file ``study.db`` in the sweep's folder.
        study_name: Name of the study in it; null: made from what is searched.
        seed: Of the engine; with one trial at a time the same seed proposes the same values. null: chance.
        engine_options: Further arguments of the engine's Optuna sampler.
        pruner: Who ends trials early: a name of `dogbreed.sweeps.engines.PRUNERS`.
        pruner_startup_trials: Trials that run to the end before any is ended early, >= 0.
        pruner_warmup_epochs: Epochs of each trial in which it is not ended, >= 0.
        pruner_options: Further arguments of the Optuna pruner.
        default_trial: Begin with the configuration's own values, where the space holds them.
        max_failed: Share of failed trials at which a search ends, from 4 failures on, 0..1; 1: only if none succeeds.
        max_batch_size: Trials that the launcher gets at once, >= 1; null: ``n_jobs``.
        heartbeat_s: A worker says so often that it lives, > 0; silent for 6 times as long is dead.
        timeout_s: No new trial begins after so many seconds, > 0; null: no limit.
    """

    _target_: str = TARGET
    engine: str = "tpe"
    n_trials: Optional[int] = 20  # noqa: UP045 -- OmegaConf reads the annotations
    n_jobs: int = 1
    params: dict[str, str] = field(default_factory=dict)
    storage: Optional[str] = None  # noqa: UP045
    study_name: Optional[str] = None  # noqa: UP045
    seed: Optional[int] = 0  # noqa: UP045
    engine_options: dict[str, Any] = field(default_factory=dict)
    pruner: str = "median"
    pruner_startup_trials: int = 5
    pruner_warmup_epochs: int = 1
    pruner_options: dict[str, Any] = field(default_factory=dict)
    default_trial: bool = True
    max_failed: float = 0.5
    max_batch_size: Optional[int] = None  # noqa: UP045
    heartbeat_s: float = 15.0
    timeout_s: Optional[float] = None  # noqa: UP045

    @property
    def batch_size(self) -> int:
        """Trials that the launcher gets at once."""
        return self.max_batch_size or self.n_jobs


def check_settings(values: dict[str, Any]) -> SearchSweeperConf:
    """Read the settings that Hydra gives, whose types it has checked.

    Args:
        values: Fields of `SearchSweeperConf`.

    Raises:
        UserError: a number is out of its range; a name is the business of who looks it up.
    """
    known = {one.name for one in fields(SearchSweeperConf)}
    settings = SearchSweeperConf(**{key: value for key, value in values.items() if key in known})
    at_least_one = ("n_trials", "n_jobs", "max_batch_size")
    positive = ("heartbeat_s", "timeout_s")
    for name in (*at_least_one, *positive, "pruner_startup_trials", "pruner_warmup_epochs"):
        value = getattr(settings, name)
        least = 1 if name in at_least_one else 0
        if value is None:
            continue
        if value < least or (name in positive and value == 0):
            wanted = "above 0" if name in positive else f"{least} or more"
            msg = f"hydra.sweeper.{name}={value} must be {wanted}."
            raise UserError(msg)
    if settings.n_trials is None and settings.engine != "grid":
        msg = f"hydra.sweeper.n_trials=null: engine={settings.engine} never ends of itself; say how many trials."
        raise UserError(msg)
    if not 0 < settings.max_failed <= 1:
        msg = f"hydra.sweeper.max_failed={settings.max_failed:g} must be a share above 0 and at most 1."
        raise UserError(msg)
    if settings.seed is not None and settings.seed < 0:
        msg = f"hydra.sweeper.seed={settings.seed} must be 0 or more, or null."
        raise UserError(msg)
    return settings
