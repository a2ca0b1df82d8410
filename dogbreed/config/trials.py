"""What a configuration says about being a trial of a search: a run that may end early, and reports to a study."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def ends_lost_trials(cfg: DictConfig) -> bool:
    """Say whether a trial of this configuration ends early, as an answer, when it can come to nothing any more.

    Args:
        cfg: A training configuration, composed or resolved; the run is one of a sweep.
    """
    from omegaconf import OmegaConf

    on_issue = OmegaConf.select(cfg, "diagnose.on_issue", default="auto")
    return bool(on_issue == "prune" or (on_issue == "auto" and OmegaConf.select(cfg, "trial.storage")))


def without_study(cfg: DictConfig) -> DictConfig:
    """Copy a configuration without the place of its study, which may hold a password and says nothing of the run."""
    cfg = copy.deepcopy(cfg)
    if cfg.get("trial"):
        for key in ("storage", "study", "number"):
            cfg.trial[key] = None
    return cfg
