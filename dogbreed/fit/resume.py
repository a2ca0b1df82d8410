"""Which run goes on: the one in the folder that is named, or the newest one that is the same and was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf, read_write

from dogbreed.command import RefusedError
from dogbreed.config import literal_folder
from dogbreed.config.hashing import config_hash
from dogbreed.distributed import is_main
from dogbreed.errors import UserError
from dogbreed.files import read_json
from dogbreed.fit.fingerprint import Fingerprint, data_hash, fingerprint_of
from dogbreed.fit.places import checkpoint_dir
from dogbreed.lock import LockedError, RunLock
from dogbreed.run_files import FINISHED_STATES, LAST, RUN_JSON, RUN_LOCK

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

UNFINISHED = ("running", "interrupted", "failed")


class ResumeLookup(Callback):
    """Before Hydra makes the run folder, find the one of an interrupted run that is the same.

    Its lock is taken here, so that of two commands that look at the same moment one
    goes on and the other one starts a run of its own. It reads only small files;
    nothing here imports torch.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Choose the run folder.

        Raises:
            RefusedError: the folder that is named holds another run.
        """
        if not is_main():  # which has no folder of its own
            return
        launch = config.get("launch")
        if launch and (launch.target != "local" or launch.dry_run):  # it will not run here
            return
        resume = str(config.get("resume", "never"))
        literal = literal_folder(config.hydra.run)
        try:
            if resume not in ("auto", "never"):
                _set_run_dir(config, _named(Path(resume).expanduser(), config))
            elif literal:
                _check_folder(literal, config)
            elif resume == "auto":
                found = _find(_run_dir(config).parent, config)
                if found:
                    _set_run_dir(config, found)
        except UserError as error:
            raise RefusedError(str(error)) from error


def check_run(state: dict[str, Any], mine: Fingerprint, folder: Path, resume: str) -> None:
    """Refuse a folder whose unfinished run has checkpoints and is another one, or would only fail again.

    Args:
        state: Its ``run.json``; empty for a folder that is new.
        mine: What is to be run.
        folder: The run folder.
        resume: ``auto``, ``never`` or the folder.

    Raises:
        UserError: names the folder and the ways out.
    """
    if resume == "never" or not state.get("fingerprint"):
        return
    check_fingerprint(state["fingerprint"], mine, folder)
    if state.get("is_resumable") is False and resume == "auto":
        msg = (
            f'{folder} holds this run, which would only fail again ("{state.get("error")}"): change what that names '
            "and choose another folder, or go on all the same with resume=RUN_FOLDER."
        )
        raise UserError(msg)


def check_fingerprint(theirs: Any, mine: Fingerprint, place: Path) -> None:
    """Refuse what belongs to another run.

    Raises:
        UserError: says what is different.
    """
    pair = tuple(theirs or ("", ""))
    if pair != mine:
        what = "configuration" if pair[0] != mine.config else "data"
        msg = (
            f"{place} belongs to an unfinished run with another {what}: choose another folder (hydra.run.dir=DIR, "
            "checkpoint_dir=DIR), or start anew there and lose it, resume=never."
        )
        raise UserError(msg)


def _check_folder(folder: Path, config: DictConfig) -> None:
    if (checkpoint_dir(config, folder) / LAST).exists():
        check_run(read_json(folder / RUN_JSON), fingerprint_of(config), folder, str(config.resume))


def _named(folder: Path, config: DictConfig) -> Path:
    state = read_json(folder / RUN_JSON).get("state")
    if state not in UNFINISHED:
        what = "holds a finished run" if state in FINISHED_STATES else "holds no run"
        msg = f"resume={folder} {what}: name the folder of an interrupted one, or resume=auto."
        raise UserError(msg)
    _check_folder(folder, config)
    return folder


def _find(parent: Path, config: DictConfig) -> Path | None:
    """Return the newest folder whose run is the same and interrupted, its lock taken; None if there is none."""
    mine = config_hash(config)
    data = ""
    for folder in _interrupted(parent, mine, config):
        try:
            lock = RunLock(folder / RUN_LOCK)
        except LockedError as error:
            if (folder / RUN_LOCK).exists():
                log.info("resume  not %s", error)
            continue
        state = read_json(folder / RUN_JSON)  # again: it may have been finished meanwhile
        data = data or data_hash(config)
        if state.get("state") in UNFINISHED and state.get("fingerprint") == [mine, data]:
            lock.reserve()
            return folder
        lock.release()
    return None


def _interrupted(parent: Path, config: str, cfg: DictConfig) -> Iterator[Path]:
    """List the folders of interrupted runs of a configuration that have a checkpoint, the newest first."""
    states = {file.parent: read_json(file) for file in parent.glob(f"*/{RUN_JSON}")}
    newest_first = sorted(states, key=lambda folder: (str(states[folder].get("started")), folder.name), reverse=True)
    for folder in newest_first:
        state = states[folder]
        is_same = (state.get("fingerprint") or [""])[0] == config and state.get("state") in UNFINISHED
        has_checkpoint = (checkpoint_dir(cfg, folder) / LAST).exists()
        if is_same and has_checkpoint and state.get("is_resumable") is not False:
            yield folder


def _run_dir(config: DictConfig) -> Path:
    """Return where Hydra would put the run; its own values are known to it only while a job runs."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(config)
    try:
        return Path(str(OmegaConf.select(config, "hydra.run.dir")))
    finally:
        instance.cfg = before


def _set_run_dir(config: DictConfig, folder: Path) -> None:
    with read_write(config.hydra.run):
        config.hydra.run.dir = str(folder).replace("${", "\\${")
