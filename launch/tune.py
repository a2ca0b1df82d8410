"""Search with a SageMaker tuning job: ``python -m launch.tune sweep=full launch=a10g max_jobs=20 max_parallel=2``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_command, run_hydra_command
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line."""
    from launch.tuning.search import take_ranges

    try:
        kept, ranges = take_ranges(sys.argv[1:])
    except UserError as error:
        refusal = error
        run_command(lambda: _refuse(refusal))
    sys.argv[1:] = kept
    run_hydra_command("tune", partial(tune, ranges=ranges))


def _refuse(error: UserError) -> None:
    raise error


def tune(cfg: DictConfig, ranges: Mapping[str, str]) -> None:
    """Start a tuning job, follow it and bring its run folders home, as Hydra's task function.

    Args:
        cfg: Composed from ``conf/tune.yaml``.
        ranges: Of the command line.

    Raises:
        UserError: it cannot be started, or has failed.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from launch.follow import say
    from launch.settings import LaunchSettings
    from launch.tuning.search import Search, check_run, check_trials

    hydra_cfg = HydraConfig.get()
    settings = LaunchSettings.of(cfg)
    overrides = list(hydra_cfg.overrides.task)
    check_run(cfg, settings)
    sweeper = OmegaConf.to_container(hydra_cfg.sweeper, resolve=False)
    assert isinstance(sweeper, dict)
    search = Search.of(cfg, ranges, overrides, {str(key): value for key, value in sweeper.items()})
    check_trials(cfg, overrides, settings, search.space)
    folder, choices = Path(hydra_cfg.runtime.output_dir), dict(hydra_cfg.runtime.choices)
    if settings.dry_run:
        from launch.cargo import Cargo
        from launch.dry_run import show
        from launch.tuning.ship import plan_here

        show(lambda: plan_here(cfg, overrides, search, Cargo.pack(cfg), choices), folder)
        return
    from launch.tuning.ship import submit

    job = submit(cfg, overrides, search, folder, choices=choices, say=say)
    if not settings.wait:
        sys.stdout.write(f"tuning  {folder}\nfollow  python -m launch.jobs logs -f {folder}\n")
        return
    from launch.follow import check_outcome
    from launch.tuning.tables import ranking, winner_words

    state = job.follow()
    job.fetch()
    sys.stdout.write(f"{ranking(state, job.record)}\n\n")
    check_outcome(state)
    sys.stdout.write(f"{winner_words(state, folder)}\ntuning  {folder}\n")
    if cfg.report:
        from dogbreed.reporting import write_aside, write_sweep_page

        page = write_aside(write_sweep_page, folder)
        sys.stdout.write(f"page    {page}\n" if page else "")


if __name__ == "__main__":
    main()
