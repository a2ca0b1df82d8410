"""Which search goes on: the one in the folder that is named, or the newest one that is the same and was interrupted."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf, open_dict, read_write

from dogbreed.config import literal_folder
from dogbreed.errors import UserError
from dogbreed.lock import LockedError, RunLock
from dogbreed.run_files import SEARCH_JSON, SEARCH_LOCK, SWEEP_JSON
from dogbreed.sweeps.search_folder import is_worker, read_search
from dogbreed.sweeps.search_plan import sweep_hash
from dogbreed.sweeps.settings import SWEEPER
from dogbreed.sweeps.space import override_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

AUTO, NEVER = "auto", "never"
UNFINISHED = ("running", "interrupted")


def choose_sweep_folder(config: DictConfig) -> None:
    """Before a sweep begins, find the folder of the one that goes on; refuse that of another sweep.

    A search goes on in the folder that is named (``hydra.sweep.dir``, ``resume``), or in the newest one beside its own
    that is the same and was interrupted. Its lock is taken here, so that of two commands one goes on and the other one
    begins a search of its own. Other sweeps always begin.

    Args:
        config: Of the sweep, ``hydra`` included; its folder is changed.

    Raises:
        UserError: the folder holds another sweep, or one that has nothing left to do.
    """
    if is_worker():
        return
    literal, resume = literal_folder(config.hydra.sweep), str(config.get("resume", NEVER))
    if not is_search(config):
        _refuse_used(literal)
        return
    named = Path(resume).expanduser() if resume not in (AUTO, NEVER) else literal
    if named is None:
        found = _find(Path(str(config.hydra.sweep.dir)).parent, config) if resume == AUTO else None
    elif (named / SEARCH_JSON).exists():
        if resume == NEVER:
            msg = f"{named} holds a search, and resume=never begins one: choose another folder, hydra.sweep.dir=DIR."
            raise UserError(msg)
        found = _checked(named, config)
    elif named == literal:
        _refuse_used(named)
        return
    else:
        msg = f"resume={resume} holds no search: name the folder of one, or leave resume out."
        raise UserError(msg)
    if found:
        log.info("resume  %s, %s", found, _words(read_search(found)))
        _set_sweep_dir(config, found)


def is_search(config: DictConfig) -> bool:
    """Say whether a sweep's sweeper is ours."""
    return bool(config.hydra.runtime.choices.get("hydra/sweeper") == SWEEPER)


def check_single_run(config: DictConfig) -> None:
    """Refuse what describes a search where there is a single run.

    Args:
        config: Of the run, ``hydra`` included.

    Raises:
        UserError: with the command that searches.
    """
    typed = [str(one) for one in (*config.hydra.overrides.hydra, *config.hydra.overrides.task)]
    # An experiment may bring a search with it, which is there for -m.
    asked = [one for one in typed if re.fullmatch(rf"\+*sweep=(?!null).+|hydra/sweeper={SWEEPER}", one)]
    # The winner's overrides name the sweep that it comes from, whose fixed values it keeps.
    if config.hydra.job.config_name != "train" or config.get("from_sweep") or not asked:
        return
    given = asked[-1].lstrip("+")
    kept = " ".join(_shell(one) for one in typed if not one.startswith(("hydra.mode=", "hydra/help=")))
    msg = f"{given} is for a search, and this is a single run: add -m, python -m dogbreed.train -m {kept}"
    raise UserError(msg)


def _refuse_used(folder: Path | None) -> None:
    if folder and ((folder / SWEEP_JSON).exists() or (folder / SEARCH_JSON).exists()):
        msg = f"{folder} holds a sweep: choose another folder (hydra.sweep.dir=DIR) or delete this one."
        raise UserError(msg)


def _checked(folder: Path, config: DictConfig) -> Path:
    """Return a folder whose search is the same and has something left to do; its lock is taken."""
    theirs = read_search(folder)
    if theirs.get("hash") != sweep_hash(config):
        msg = (
            f"{folder} holds another search (its engine, search space, configuration or data differ): choose another "
            "folder, hydra.sweep.dir=DIR."
        )
        raise UserError(msg)
    if not _has_more(theirs, config):
        msg = (
            f"{folder} holds this search, finished with {theirs.get('n_trials') or 'all its'} trials: raise "
            "hydra.sweeper.n_trials to go on with it, or choose another folder, hydra.sweep.dir=DIR."
        )
        raise UserError(msg)
    RunLock(folder / SEARCH_LOCK).reserve()
    return folder


def _has_more(theirs: dict[str, Any], config: DictConfig) -> bool:
    if theirs.get("state") in UNFINISHED:
        return True
    done, wanted = theirs.get("n_trials"), config.hydra.sweeper.n_trials
    return done is not None and (wanted is None or wanted > done)


def _find(parent: Path, config: DictConfig) -> Path | None:
    """Return the newest folder whose search is the same and was interrupted, its lock taken; None if there is none."""
    mine = sweep_hash(config)
    for folder in _interrupted(parent, mine):
        try:
            lock = RunLock(folder / SEARCH_LOCK)
        except LockedError:
            log.info("resume  not %s, where this search goes on already", folder)
            continue
        if read_search(folder).get("state") in UNFINISHED:  # again: it may have been finished meanwhile
            lock.reserve()
            return folder
        lock.release()
    return None


def _interrupted(parent: Path, mine: str) -> Iterator[Path]:
    states = {file.parent: read_search(file.parent) for file in parent.glob(f"*/{SEARCH_JSON}")}
    newest_first = sorted(states, key=lambda folder: (str(states[folder].get("started")), folder.name), reverse=True)
    for folder in newest_first:
        if states[folder].get("hash") == mine and states[folder].get("state") in UNFINISHED:
            yield folder


def _words(search: dict[str, Any]) -> str:
    return "which was interrupted" if search.get("state") in UNFINISHED else "which gets more trials"


def _set_sweep_dir(config: DictConfig, folder: Path) -> None:
    """Have this sweep and each of its trials, whose configurations are composed anew, go to a folder."""
    override = override_text("hydra.sweep.dir", str(folder).replace("${", "\\${"))
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder).replace("${", "\\${")
        others = [str(one) for one in config.hydra.overrides.hydra if not str(one).startswith("hydra.sweep.dir=")]
        OmegaConf.update(config, "hydra.overrides.hydra", [*others, override])


def _shell(argument: str) -> str:
    import shlex

    return shlex.quote(argument)
