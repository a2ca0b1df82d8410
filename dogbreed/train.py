"""Train: ``python -m dogbreed.train model=resnet50 data=dogimages``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command, run_program
from dogbreed.errors import UserError
from dogbreed.imports import importing

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line."""
    from dogbreed.sweeps.callback import note_interruption
    from dogbreed.sweeps.winner import with_winner

    try:
        run_hydra_command("train", train, rewrite=with_winner)
    finally:
        note_interruption()


def train(cfg: DictConfig) -> float | list[float]:
    """Train once, as Hydra's task function.

    Args:
        cfg: The composed configuration.

    Returns:
        The objective's value; values, if it is a list.

    Raises:
        UserError: ``launch`` is set, or as `dogbreed.fit_run`.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_cfg = HydraConfig.get()
    _refuse_launch(cfg, hydra_cfg.runtime.choices)  # before torch is imported
    with importing():
        from dogbreed.fit.run import fit_run

    is_trial = hydra_cfg.mode == RunMode.MULTIRUN
    return fit_run(cfg, Path(hydra_cfg.runtime.output_dir), is_trial=is_trial).objective


def _refuse_launch(cfg: DictConfig, choices: Mapping[str, str | None]) -> None:
    """Refuse to train here what was meant for another machine.

    Raises:
        UserError: ``launch`` is set, and no launcher has taken the run along.
    """
    if cfg.get("launch") is None or choices.get("hydra/launcher") == "sagemaker":
        return
    choice = choices.get("launch") or "a10g"
    msg = (
        f"launch={choice} ships the run to another machine, which is python -m launch.train … launch={choice}: say "
        "that, or leave launch out to train here."
    )
    raise UserError(msg)


if __name__ == "__main__":
    run_program(main)
