"""The entry script of a training job: the job's hyperparameters are a run's overrides, its folders the run's places.

It is started by the toolkit, alone or by torchrun as one of several, with arguments that say nothing that the
toolkit's variables do not say.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from launch.container.job import Job
from launch.container.prepare import install_smdebug, prepare

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> NoReturn:
    """Run the job: exit code 0 when all is done and delivered, 2 for what the user can mend, 1 for our bugs."""
    from dogbreed.command import run_command
    from launch.container.deliver import report_failure

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Amazon's image has Python write every word by itself, and the toolkit makes a line of what it reads.
            stream.reconfigure(line_buffering=True, write_through=False)

    def body() -> None:
        job = Job.of(os.environ)
        try:
            prepare(job)
            run(job)
        except Exception as error:
            report_failure(job.failure_file, error)
            raise

    run_command(body)


def run(job: Job) -> None:
    """Train as the job says, and deliver.

    Args:
        job: This one, prepared.

    Raises:
        UserError: as `dogbreed.fit_run`, or the configuration wants other machines than there are.
    """
    from dogbreed.config import compose
    from dogbreed.distributed import is_main
    from launch.overrides import from_hyperparameters

    overrides = from_hyperparameters(job.hyperparameters)
    cfg = compose(overrides)
    _settle_machine(cfg, overrides, job)
    if job.checkpoint_dir:
        cfg.checkpoint_dir = str(job.checkpoint_dir)
        cfg.resume = "auto"  # whatever it was at first: the job may have been interrupted
    if cfg.diagnose.get("hook"):
        install_smdebug(job)
    from dogbreed.fit.run import fit_run
    from launch.container.deliver import deliver_model, record_overrides
    from launch.container.metric_log import result_line, write_line

    if is_main():
        job.run_dir.mkdir(parents=True, exist_ok=True)
        record_overrides(job.run_dir, overrides, cfg)
        _log_to(job)
        _take_up(job, cfg)
    result = fit_run(cfg, job.run_dir, is_trial=job.is_trial)
    if is_main():
        deliver_model(result.model_dir, job.model_dir)
        write_line("result", result_line(result.metrics))


def _settle_machine(cfg: DictConfig, overrides: list[str], job: Job) -> None:
    """Say how many devices and machines there are, where nobody has said so.

    Raises:
        UserError: somebody has, and it is another number.
    """
    from dogbreed.config import local_devices
    from dogbreed.distributed import world
    from dogbreed.errors import UserError

    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    num_devices = world().local_ranks if world().is_started else None
    if num_devices is None and job.instance_type.startswith("ml.") and cfg.trainer.accelerator != "cpu":
        num_devices = max(1, job.num_gpus)
    devices = cfg.trainer.devices
    is_plain = isinstance(devices, int) and devices >= 1
    if num_devices is not None and devices in (1, "auto") and "trainer.devices" not in given:
        cfg.trainer.devices = num_devices
    elif world().is_started and (is_plain or not isinstance(devices, (int, str))):
        wanted = local_devices(cfg)
        if wanted != num_devices:
            msg = (
                f"trainer.devices={devices}, but each machine of this job ({job.instance_type}) runs {num_devices} "
                "processes: leave trainer.devices to the launch preset, or choose a machine with as many GPUs."
            )
            raise UserError(msg)
    num_hosts = len(job.hosts)
    if cfg.trainer.num_nodes == 1 and "trainer.num_nodes" not in given:
        cfg.trainer.num_nodes = num_hosts
    elif cfg.trainer.num_nodes != num_hosts:
        msg = (
            f"trainer.num_nodes={cfg.trainer.num_nodes}, but this job has {num_hosts} "
            f"machine{'s' if num_hosts > 1 else ''}: leave trainer.num_nodes out, or set launch.instance_count alike."
        )
        raise UserError(msg)


def _log_to(job: Job) -> None:
    """Log as a run in a shell does: plain lines here, with times in ``train.log`` of the run folder."""
    from dogbreed.run_files import METRICS_CSV
    from launch.container.metric_log import TELLER, MetricLog

    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(message)s"))
    file = logging.FileHandler(job.run_dir / "train.log", encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.root.handlers = [console, file]
    logging.root.setLevel(logging.INFO)
    logging.getLogger(TELLER).addHandler(MetricLog(job.run_dir / METRICS_CSV))


def _take_up(job: Job, cfg: DictConfig) -> None:
    """Let a run that was interrupted after its training measure and deliver; its checkpoint is retired by then."""
    from dogbreed.fit.places import checkpoint_dir
    from dogbreed.run_files import FINISHED, LAST

    folder = checkpoint_dir(cfg, job.run_dir, is_trial=job.is_trial)
    if job.checkpoint_dir and (folder / FINISHED).exists() and not (folder / LAST).exists():
        (folder / FINISHED).rename(folder / LAST)
