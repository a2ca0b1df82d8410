"""Where a run keeps its checkpoints, for those who look for a run and those who write one; imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from dogbreed.run_files import CHECKPOINTS

if TYPE_CHECKING:
    from omegaconf import DictConfig


def checkpoint_dir(cfg: DictConfig, run_dir: Path, *, is_trial: bool = False) -> Path:
    """Return where a run's checkpoints are.

    Args:
        cfg: ``checkpoint_dir`` may move them out of the run folder.
        run_dir: The run folder.
        is_trial: The run is one of a sweep, whose trials would write over each other's checkpoints.

    Raises:
        UserError: it is no path.
    """
    moved = cfg.get("checkpoint_dir")
    if moved is None:
        return run_dir / CHECKPOINTS
    if not isinstance(moved, (str, Path)):
        msg = f"checkpoint_dir={moved} must be a text or null."
        raise UserError(msg)
    folder = Path(moved).expanduser()
    return folder / run_dir.name if is_trial else folder
