"""The folder of a search: who is at work in it, what it is, and how it stands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.command import SEARCH_WORKER
from dogbreed.files import disk_errors, read_json, write_json
from dogbreed.lock import take_lock
from dogbreed.run_files import SEARCH_JSON, SEARCH_LOCK
from dogbreed.sweeps.search_plan import SearchPlan, sweep_hash

if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def holding_folder(plan: SearchPlan, config: DictConfig) -> Iterator[None]:
    """Hold the sweep's folder, made if it is not there, and record how the search ends.

    Raises:
        LockedError: another search is at work in it.
        UserError: it cannot be written.
        KeyboardInterrupt: as it came, with words that say how to go on.
    """
    if is_worker():
        yield
        return
    with disk_errors(plan.folder, "hydra.sweep.dir=DIR"):
        plan.folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(plan.folder / SEARCH_LOCK)
    about = {"hash": sweep_hash(config), "engine": plan.study.engine, "n_trials": plan.n_trials,
             "study": plan.study.name, "started": _now()}  # fmt: skip
    try:
        _record(plan.folder, "running", about)
        yield
    except KeyboardInterrupt as interruption:
        _record(plan.folder, "interrupted", about)
        interruption.args = interruption.args or ("The same command goes on from here.",)
        raise
    except BaseException:
        _record(plan.folder, "interrupted", about)
        raise
    else:
        _record(plan.folder, "completed", about)
    finally:
        lock.release()


def is_worker() -> bool:
    """Say whether this process is one of several that a search has started here, whose folder is their parent's."""
    return SEARCH_WORKER in os.environ


def read_search(folder: Path) -> dict[str, Any]:
    """Return what ``search.json`` says; empty where there is none.

    Returns:
        ``hash``, ``state`` (running, interrupted or completed), ``engine``, ``n_trials``, ``study``, ``started``.
    """
    return read_json(folder / SEARCH_JSON)


def _record(folder: Path, state: str, about: dict[str, Any]) -> None:
    write_json(folder / SEARCH_JSON, {"state": state, **about})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
