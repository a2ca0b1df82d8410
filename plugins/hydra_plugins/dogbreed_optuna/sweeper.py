"""What Hydra finds: the sweeper's settings and its class.

Hydra imports this module at every start of every command, so that all the rest, Optuna above all, is imported where it
is needed. It does so before the module is in ``sys.modules``: hence no ``from __future__ import annotations``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper

from dogbreed.sweeps.settings import SWEEPER, SearchSweeperConf

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

ConfigStore.instance().store(group="hydra/sweeper", name=SWEEPER, node=SearchSweeperConf, provider="dogbreed_optuna")


class SearchSweeper(Sweeper):
    """Search the space of ``hydra.sweeper.params`` and of the ranges on the command line.

    Args:
        settings: Fields of `dogbreed.sweeps.settings.SearchSweeperConf`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: "HydraContext", task_function: "TaskFunction", config: "DictConfig") -> None:
        """Keep what Hydra gives, and build the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> "list[Sequence[JobReturn]]":
        """Run trials until the study has as many as wanted.

        Args:
            arguments: The task's overrides, which are in the configuration, too.

        Returns:
            The returns of each batch of trials that this process has run.

        Raises:
            UserError: the search cannot begin, or ends without one good trial.
        """
        from dogbreed.sweeps.search import search

        assert self.hydra_context and self.config is not None and self.launcher  # noqa: PT018
        return search(self._settings, self.config, self.hydra_context, self.launcher)
