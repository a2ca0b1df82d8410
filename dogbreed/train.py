"""Train: ``python -m dogbreed.train model=resnet50 data=dogimages``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line."""
    run_hydra_command("train", train)


def train(cfg: DictConfig) -> float | list[float]:
    """Train once, as Hydra's task function.

    Args:
        cfg: The composed configuration.

    Returns:
        The objective's value; values, if it is a list.

    Raises:
        UserError: as `dogbreed.fit_run`.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from dogbreed.fit.run import fit_run

    hydra_cfg = HydraConfig.get()
    is_trial = hydra_cfg.mode == RunMode.MULTIRUN
    return fit_run(cfg, Path(hydra_cfg.runtime.output_dir), is_trial=is_trial).objective


if __name__ == "__main__":
    main()
