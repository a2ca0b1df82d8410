"""Where a run begins: anew, or where an interrupted one in its folder was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dogbreed.errors import UserError
from dogbreed.fit.checkpoint_file import RUN_KEY, read_checkpoint
from dogbreed.fit.fingerprint import Fingerprint
from dogbreed.fit.resume import check_fingerprint, check_run
from dogbreed.fit.run_folder import RunFolder
from dogbreed.run_files import BEST, LAST


@dataclass(frozen=True)
class Beginning:
    """What a run is, and how far it has come already.

    Args:
        fingerprint: Its configuration and its data, in two hashes.
        earlier: What ``last.ckpt`` says of an interrupted run that goes on; None for one that begins.
    """

    fingerprint: Fingerprint
    earlier: dict[str, Any] | None = None

    def words(self) -> str:
        """Say how far an interrupted run had come."""
        run = self.earlier or {}
        if run["is_finished"]:
            return "trained to the end, not yet measured"
        within = f", batch {run['batch'] + 1} of {run['num_batches']}" if run["batch"] else ""
        return f"epoch {run['epoch'] + 1} of {run['num_epochs']}{within}"


def admit(cfg: DictConfig, folder: RunFolder, mine: Fingerprint, state: dict[str, Any]) -> dict[str, Any] | None:
    """Decide whether a run may have a folder, and whether it goes on there.

    Args:
        cfg: The composed configuration.
        folder: The run folder, held.
        mine: What is to be run.
        state: The folder's ``run.json``; empty where there is none.

    Returns:
        What its ``last.ckpt`` says of the run that goes on; None to begin.

    Raises:
        UserError: the folder belongs to another run, or its checkpoint is damaged.
    """
    resume = str(cfg.get("resume", "auto"))
    if resume not in ("auto", "never") and Path(resume).expanduser().resolve() != folder.path.resolve():
        msg = f"resume={resume}: this run is to go to {folder.path}; name the same folder, or resume=auto."
        raise UserError(msg)
    last, best = folder.checkpoints / LAST, folder.checkpoints / BEST
    if resume == "never":
        last.unlink(missing_ok=True)
        best.unlink(missing_ok=True)
    if not last.exists():
        return None
    check_run(state, mine, folder.path, resume)
    run: dict[str, Any] = read_checkpoint(last, only_look=True).get(RUN_KEY, {})
    check_fingerprint(run.get("fingerprint"), mine, last)
    return run


@contextmanager
def saying_how_to_go_on(cfg: DictConfig, folder: RunFolder, *, is_trial: bool) -> Iterator[None]:
    """Have an interruption say what it takes to go on, where anything was saved."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if is_trial or not (folder.checkpoints / LAST).exists():  # a sweep begins anew
            raise
        is_found = cfg.get("resume", "auto") != "never"
        way = "The same command" if is_found else f"resume={folder.path}"
        interruption.args = (f"{way} goes on from here.",)
        raise
