"""Compose a configuration from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dogbreed.config.places import conf_dir
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Compose a configuration from Python as the command line would.

    Args:
        overrides: ``["model=resnet50", "optim.lr=1e-3"]``.
        config_name: Primary configuration: ``train`` or ``evaluate``.

    Returns:
        The configuration for `dogbreed.fit_run`, ``auto`` values not yet resolved.

    Raises:
        UserError: a group, option or key does not exist, or a value is malformed.
    """
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from dogbreed.config.explain import explain

    try:
        with _hydra():
            cfg = hydra_compose(config_name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, config_name)) from error
    OmegaConf.set_struct(cfg, True)
    return cfg


@contextmanager
def _hydra() -> Iterator[None]:
    """Have a Hydra of our own, also within a command that Hydra runs, whose own comes back afterwards."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    around = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = around
