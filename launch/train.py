"""Ship a run to SageMaker: ``python -m launch.train model=resnet50 launch=a10g``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line."""
    run_hydra_command("train", ship, ["hydra/help=launch"], rewrite=_single_run)


def _single_run(arguments: Sequence[str]) -> list[str]:
    """Put a winner's overrides before those that were typed.

    Raises:
        UserError: this is a sweep; or as `with_tuning_winner`.
    """
    from launch.tuning.retrain import with_tuning_winner

    rewritten = with_tuning_winner(arguments)
    if {"-m", "--multirun"} & set(rewritten):
        msg = (
            "-m makes a sweep, and launch.train ships one run: python -m dogbreed.train -m hydra/launcher=sagemaker … "
            "ships each of its runs, and python -m launch.tune is a tuning job."
        )
        raise UserError(msg)
    return rewritten


def ship(cfg: DictConfig) -> None:
    """Ship one run, follow it and bring its run folder home, as Hydra's task function.

    Args:
        cfg: The composed configuration.

    Raises:
        UserError: it cannot be shipped, or the job has failed.
    """
    from hydra.core.hydra_config import HydraConfig

    from launch.follow import say
    from launch.settings import LaunchSettings

    hydra_cfg = HydraConfig.get()
    settings = LaunchSettings.of(cfg)
    overrides = list(hydra_cfg.overrides.task)
    run_dir, choices = Path(hydra_cfg.runtime.output_dir), dict(hydra_cfg.runtime.choices)
    if settings.dry_run:
        from launch.cargo import Cargo
        from launch.dry_run import show
        from launch.ship import plan_here

        show(lambda: plan_here(cfg, overrides, Cargo.pack(cfg), choices), run_dir)
        return
    from launch.ship import submit

    job = submit(cfg, overrides, run_dir, choices=choices, say=say)
    if not settings.wait:
        sys.stdout.write(f"run     {run_dir}\nfollow  python -m launch.jobs logs -f {run_dir}\n")
        return
    from launch.follow import check_outcome

    state = job.follow()
    job.fetch()
    check_outcome(state)
    if not settings.is_local:  # which has said so
        sys.stdout.write(f"run     {run_dir}\n")


if __name__ == "__main__":
    main()
