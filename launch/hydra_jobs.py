"""Between Hydra and a sweep's jobs: their configurations, their folders as other launchers make them, their returns."""

from __future__ import annotations

import copy
import importlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from dogbreed.errors import UserError, sentence_of
from dogbreed.files import read_json, write_json, write_text
from dogbreed.run_files import RUN_JSON
from launch.executor import Executor, Limits, Outcome, SweepJob
from launch.progress import SweepProgress
from launch.sweep import MAX_CONCURRENT, run_jobs

log = logging.getLogger(__name__)


class FailedJob(JobReturn):
    """The return of a job that failed, with which a sweep goes on: its value is NaN and its error is kept.

    Hydra's own raises the error when a sweeper asks for the value, which ends the sweep.
    """

    @property
    def error(self) -> Exception:
        """Why it failed."""
        return self._return_value  # type: ignore[no-any-return]

    @property
    def return_value(self) -> Any:
        """NaN; as many as there are objectives, if they are a list."""
        objective = self.cfg.get("objective") if self.cfg is not None else None
        return [math.nan] * len(objective) if isinstance(objective, ListConfig) else math.nan

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


def launch_jobs(
    executor: str,
    limits: Mapping[str, Any],
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Do what Hydra asks of a launcher.

    Args:
        executor: Dotted name of the `Executor`.
        limits: Fields of `Limits`.
        context: Loads configurations and knows the callbacks.
        task_function: For executors that run it.
        config: Of the sweep.
        job_overrides: A list of overrides a job.
        first: Number of the first job.

    Returns:
        A return a job, in order; `FailedJob` for those that failed.

    Raises:
        UserError: a job cannot be run at all; none has been begun then.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    composed = [_compose(context, config, overrides, number) for number, overrides in enumerate(job_overrides, first)]
    jobs = [_job(one) for one in composed]
    runs = _executor(executor, task_function)
    settled = runs.settle(jobs, Limits(**limits))
    log.info("sweep   %d jobs, %d at a time", len(jobs), settled.max_concurrent or MAX_CONCURRENT)
    record = _HydraRecord(context, task_function, composed, first)
    with record.progress:
        run_jobs(jobs, runs, settled, record)
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return [record.returns[job.number] for job in jobs]


def _executor(name: str, task_function: TaskFunction) -> Executor:
    module, _, kind = name.rpartition(".")
    try:
        build = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"hydra.launcher.executor={name} names no class ({error})."
        raise UserError(msg) from error
    executor: Executor = build(task_function)
    return executor


def _compose(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    """Compose a job's configuration and say in it where its folder is."""
    job_config: DictConfig = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job_config):
        job_config.hydra.job.id = f"{job_config.hydra.job.name}_{number}"
        job_config.hydra.job.num = number
    with _in_hydra(job_config), read_write(job_config.hydra.runtime), open_dict(job_config.hydra.runtime):
        folder = Path(str(job_config.hydra.sweep.dir), str(job_config.hydra.sweep.subdir))
        job_config.hydra.runtime.output_dir = str(folder.absolute())
    return job_config


def _job(config: DictConfig) -> SweepJob:
    cfg = copy.deepcopy(config)
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
    hydra_cfg = OmegaConf.masked_copy(config, "hydra")
    overrides = tuple(config.hydra.overrides.task)
    return SweepJob(config.hydra.job.num, overrides, cfg, hydra_cfg, Path(config.hydra.runtime.output_dir))


@contextmanager
def _in_hydra(config: DictConfig) -> Iterator[None]:
    """Let ``${hydra:…}`` mean a job's own values."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(config)
    try:
        yield
    finally:
        instance.cfg = before


class _HydraRecord:
    """Keeps folders, callbacks and returns as Hydra's own `run_job` would."""

    def __init__(
        self, context: HydraContext, task_function: TaskFunction, configs: Sequence[DictConfig], first: int
    ) -> None:
        self.returns: dict[int, JobReturn] = {}
        self.progress = SweepProgress(len(configs))
        self._context = context
        self._task_function = task_function
        self._configs = dict(enumerate(configs, first))

    def begin(self, job: SweepJob) -> None:
        config = self._configs[job.number]
        with _in_hydra(config):
            _write_folder(job)
            write_json(job.run_dir / RUN_JSON, {"state": "running"})
            self._context.callbacks.on_job_start(config=config, task_function=self._task_function)
        log.info("sweep   #%d %s", job.number, " ".join(job.overrides))

    def show(self, running: Sequence[tuple[SweepJob, str, float]]) -> None:
        self.progress.show([(job.number, phase, seconds) for job, phase, seconds in running])

    def end(self, job: SweepJob, outcome: Outcome, seconds: float) -> None:
        config = self._configs[job.number]
        _record_end(job.run_dir / RUN_JSON, outcome, seconds)
        ended = FailedJob() if outcome.error else JobReturn()
        ended.status = JobStatus.FAILED if outcome.error else JobStatus.COMPLETED
        ended.return_value = outcome.error or outcome.value
        ended.cfg, ended.hydra_cfg, ended.overrides = job.cfg, job.hydra_cfg, list(job.overrides)
        ended.working_dir = str(job.run_dir) if _changes_folder(job.hydra_cfg) else str(Path.cwd())
        ended.task_name = JobRuntime.instance().get("name")
        self.returns[job.number] = ended
        self.progress.count(has_failed=bool(outcome.error))
        _say(job, outcome, seconds)
        with _in_hydra(config):
            _write_folder(job)  # again: what comes home from elsewhere may have its own
            self._context.callbacks.on_job_end(config=config, job_return=ended)


def _changes_folder(hydra_cfg: DictConfig) -> bool:
    chdir = hydra_cfg.hydra.job.chdir
    return not version.base_at_least("1.2") if chdir is None else bool(chdir)


def _write_folder(job: SweepJob) -> None:
    """Write ``.hydra/`` as Hydra does."""
    if job.hydra_cfg.hydra.output_subdir is None:
        job.run_dir.mkdir(parents=True, exist_ok=True)
        return
    folder = job.run_dir / job.hydra_cfg.hydra.output_subdir
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(job.cfg))
    write_text(folder / "hydra.yaml", OmegaConf.to_yaml(job.hydra_cfg))
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(job.overrides))))


def _record_end(file: Path, outcome: Outcome, seconds: float) -> None:
    """Say in ``run.json`` how a job has ended, unless what came home says so itself."""
    state = read_json(file)
    if outcome.error:
        if state.get("state") != "failed":
            write_json(file, {**state, "state": "failed", "error": sentence_of(outcome.error),
                              "seconds": round(seconds, 3)})  # fmt: skip
    elif state.get("state") != "completed":
        write_json(file, {**state, "state": "completed", "seconds": round(seconds, 3)})


def _say(job: SweepJob, outcome: Outcome, seconds: float) -> None:
    if outcome.error is None:
        log.info("sweep   #%d done after %.0f s: %s", job.number, seconds, outcome.value)
    else:
        is_bug = not isinstance(outcome.error, UserError)
        log.error("sweep   #%d failed after %.0f s: %s", job.number, seconds, sentence_of(outcome.error),
                  exc_info=outcome.error if is_bug else None)  # fmt: skip
