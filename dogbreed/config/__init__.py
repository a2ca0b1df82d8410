"""Configuration: where it lives, how it is composed, what its `auto` values mean, what is wrong with it.

Nothing here imports torch until a value depends on the machine: ``--help`` and
a misspelt key answer at once.
"""

from dogbreed.config.compose import compose
from dogbreed.config.devices import local_devices, num_ranks
from dogbreed.config.hardware import auto_workers, keeps_pixels
from dogbreed.config.objectives import check_objectives, objective_mode, objective_modes, objectives
from dogbreed.config.places import conf_dir, group_options, literal_folder, register_resolvers
from dogbreed.config.resolve import auto_lr, check_present, resolve
from dogbreed.config.trials import ends_lost_trials, without_study
from dogbreed.config.types import check_types

__all__ = [
    "auto_lr",
    "auto_workers",
    "check_objectives",
    "check_present",
    "check_types",
    "compose",
    "conf_dir",
    "ends_lost_trials",
    "group_options",
    "keeps_pixels",
    "literal_folder",
    "local_devices",
    "num_ranks",
    "objective_mode",
    "objective_modes",
    "objectives",
    "register_resolvers",
    "resolve",
    "without_study",
]
