"""What Hydra finds: the launcher's settings and its class.

Hydra imports this module at every start of every command, so that all the rest is imported where it is needed. It does
so before the module is in ``sys.modules``, where dataclasses would look up annotations that are strings: hence no
``from __future__ import annotations``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass
class SageMakerLauncherConf:
    """``hydra.launcher`` with ``hydra/launcher=sagemaker``; what is null is as ``launch.*`` says.

    Args:
        executor: The class that runs jobs, `launch.executor.Executor`; it gets Hydra's task function.
        max_concurrent: Jobs at a time, >= 1.
        timeout_s: A job that has no result after so many seconds is stopped and has failed, > 0.
        poll_s: Seconds between two looks at the jobs, > 0.
    """

    _target_: str = "hydra_plugins.dogbreed_sagemaker.launcher.SageMakerLauncher"
    executor: str = "launch.executor_sagemaker.SageMakerExecutor"
    max_concurrent: Optional[int] = None  # noqa: UP045 -- OmegaConf reads the annotation
    timeout_s: Optional[float] = None  # noqa: UP045
    poll_s: Optional[float] = None  # noqa: UP045


ConfigStore.instance().store(
    group="hydra/launcher", name="sagemaker", node=SageMakerLauncherConf, provider="dogbreed_sagemaker"
)


class SageMakerLauncher(Launcher):
    """Run the jobs of a sweep elsewhere, so many at a time, and return their objectives to the sweeper.

    A job that fails is a failed result, whose value is NaN, and not the end of the sweep.

    Args:
        executor: As `SageMakerLauncherConf`.
        max_concurrent: The same.
        timeout_s: The same.
        poll_s: The same.
    """

    def __init__(
        self,
        executor: str,
        max_concurrent: int | None = None,
        timeout_s: float | None = None,
        poll_s: float | None = None,
    ) -> None:
        self._executor = executor
        self._limits = {"max_concurrent": max_concurrent, "timeout_s": timeout_s, "poll_s": poll_s}
        self._given: tuple[HydraContext, TaskFunction, DictConfig] | None = None

    def setup(self, *, hydra_context: "HydraContext", task_function: "TaskFunction", config: "DictConfig") -> None:
        """Keep what Hydra gives."""
        self._given = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> "Sequence[JobReturn]":
        """Run a batch of jobs and wait for all of them.

        Args:
            job_overrides: A list of overrides a job.
            initial_job_idx: Number of the first.

        Raises:
            UserError: a job cannot be shipped at all; none has been begun then.
        """
        from launch.hydra_jobs import launch_jobs

        assert self._given
        hydra_context, task_function, config = self._given
        limits: dict[str, Any] = self._limits
        return launch_jobs(self._executor, limits, hydra_context, task_function, config, job_overrides, initial_job_idx)
