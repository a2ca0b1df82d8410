"""Which workers of a study live, and what becomes of the trials of those that do not.

A worker says every few seconds that it lives, as an attribute of each trial that it runs; Optuna's own heartbeat knows
nothing of trials that are asked for one by one. What a dead worker was at waits for the next one who asks: nothing is
lost, and nothing is run twice but what was killed.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dogbreed.sweeps.turns import exclusively

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

# User attributes of a trial.
WORKER, HEARTBEAT, RUN_FOLDER, ISSUE, SURPLUS = "worker", "heartbeat", "run_folder", "issue", "surplus"
# How often its values were begun before, which trial it stands for, and which one stands for it.
RESTARTS, RESTART_OF, REQUEUED_AS = "restarts", "restart_of", "requeued_as"
# How often its values have lost their worker.
DEATHS = "deaths"
# Why it has failed.
REASON = "reason"

# A worker that is silent for so many of its heartbeats is dead, if it cannot be looked at.
PATIENCE = 6
# So many are awaited by one who looks for the first time: clocks of two machines may differ by more than that silence.
GLANCE = 2
# Values whose worker died so often have likely killed it.
MAX_RESTARTS = 2

# What was seen of workers elsewhere: by study and trial, their last heartbeat and when it was new to us.
_seen: dict[tuple[str, int], tuple[float, float]] = {}


def this_worker() -> dict[str, Any]:
    """Describe this process, for the attribute ``worker`` of the trials that it runs.

    Returns:
        ``host`` and ``pid``; ``started``, which tells it from a later process of the same number; ``place``, which
        tells where its number means anything: a machine since it was started, and a container on it.
    """
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "place": _place()}


def signs_of_life() -> dict[str, Any]:
    """Return the user attributes with which a worker takes on a trial: ``worker`` and a first ``heartbeat``."""
    return {WORKER: this_worker(), HEARTBEAT: time.time()}


class Heartbeat:
    """While it is entered, a thread says of the trials that it was given that their worker lives.

    A database that does not answer is asked again the next time; a trial that has ended meanwhile is left out.

    Args:
        study: The trials' study.
        every_s: Seconds between two signs of life, > 0.
    """

    def __init__(self, study: Study, every_s: float) -> None:
        self._study = study
        self._every_s = every_s
        self._trials: set[int] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._beat, name="heartbeat of trials", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be silent from now on."""
        self._ended.set()
        if self._thread:
            self._thread.join(timeout=5)

    def add(self, number: int) -> None:
        """Speak for a trial of this number, from the next time on."""
        with self._lock:
            self._trials.add(number)

    def remove(self, number: int) -> None:
        """Speak for it no more."""
        with self._lock:
            self._trials.discard(number)

    def _beat(self) -> None:
        from optuna.exceptions import OptunaError, UpdateFinishedTrialError
        from sqlalchemy.exc import SQLAlchemyError

        while not self._ended.wait(self._every_s):
            with self._lock:
                trials = sorted(self._trials)
            for number in trials:
                try:
                    storage, study_id = _storage_of(self._study)
                    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
                    storage.set_trial_user_attr(trial_id, HEARTBEAT, time.time())
                except (UpdateFinishedTrialError, KeyError):
                    self.remove(number)
                except (OptunaError, SQLAlchemyError, OSError) as error:
                    log.debug("no heartbeat of trial %d: %s", number, error)


def fail_stale(study: Study, heartbeat_s: float) -> list[int]:
    """Take the running trials away from workers that are dead.

    A worker on this machine is dead at once when its process is gone. Its trial waits for the next one who asks, with
    its number and its run folder, where it goes on from its checkpoint. Any other worker is dead when it has been
    silent for 6 heartbeats; that its clock or ours may be wrong is allowed for. It may live all the same, so that
    its trial fails, which it will be told, and the values wait as a trial of their own. Values that have
    lost more than `MAX_RESTARTS` workers fail for good.

    Args:
        study: In a database.
        heartbeat_s: Seconds between two signs of life of its workers, > 0.

    Returns:
        Numbers of the trials that were taken away.

    Raises:
        optuna.exceptions.StorageInternalError: the database cannot be reached; another attempt does no harm.
    """
    if not any(_is_dead(study, trial, heartbeat_s) for trial in _running(study)):
        return []
    with exclusively(study):
        # Again: another one may have done it while we waited.
        dead = [trial for trial in _running(study) if _is_dead(study, trial, heartbeat_s)]
        return [trial.number for trial in dead if _take_away(study, trial)]


def _running(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    storage, study_id = _storage_of(study)
    return storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))


def _take_away(study: Study, trial: FrozenTrial) -> bool:
    """Take a trial from its dead worker; say whether it was still running."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    storage, _ = _storage_of(study)
    number, worker = trial._trial_id, trial.user_attrs.get(WORKER)  # noqa: SLF001
    deaths = int(trial.user_attrs.get(DEATHS, 0)) + 1
    try:
        if trial.user_attrs.get(SURPLUS):
            storage.set_trial_state_values(number, TrialState.FAIL)
        elif worker is None or (_is_gone(worker) and deaths <= MAX_RESTARTS):
            # One without a worker was killed before it began.
            storage.set_trial_user_attr(number, DEATHS, deaths if worker else deaths - 1)
            # Optuna itself has no such step; its databases allow it.
            storage.set_trial_state_values(number, TrialState.WAITING)
        else:
            if deaths <= MAX_RESTARTS:
                _enqueue_again(study, trial, deaths)
            storage.set_trial_user_attr(number, REASON, _last_words(worker))
            storage.set_trial_state_values(number, TrialState.FAIL)
    except UpdateFinishedTrialError:  # its worker was not dead after all, and has told its value just now
        return False
    _seen.pop((study.study_name, trial.number), None)
    return True


def _enqueue_again(study: Study, trial: FrozenTrial, deaths: int) -> None:
    """Have a trial's values wait as another one, before it fails.

    Who is killed in between leaves a successor behind, which the next one who looks finds: there is never a second.
    """
    from optuna.trial import TrialState, create_trial

    storage, study_id = _storage_of(study)
    successors = (
        one.number
        for one in storage.get_all_trials(study_id, deepcopy=False)
        if one.user_attrs.get(RESTART_OF) == trial.number
    )
    successor = next(successors, None)
    if successor is None:
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        about = {RESTART_OF: trial.number, RESTARTS: int(trial.user_attrs.get(RESTARTS, 0)) + 1, DEATHS: deaths}
        waiting = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": values}, user_attrs=about)
        successor = storage.get_trial_number_from_id(storage.create_new_trial(study_id, waiting))
    storage.set_trial_user_attr(trial._trial_id, REQUEUED_AS, successor)  # noqa: SLF001


def _is_dead(study: Study, trial: FrozenTrial, heartbeat_s: float) -> bool:
    if _is_gone(trial.user_attrs.get(WORKER)):
        return True
    # One that lives may have lost sight of the trial, when the database did not answer at its end.
    beat = float(trial.user_attrs.get(HEARTBEAT) or 0.0)
    key, now = (study.study_name, trial.number), time.monotonic()
    if _seen.get(key, (None, 0.0))[0] != beat:
        _seen[key] = (beat, now)
    silent_s = now - _seen[key][1]
    is_late = beat > 0 and time.time() - beat > PATIENCE * heartbeat_s
    return silent_s > (GLANCE if is_late else PATIENCE) * heartbeat_s


def _is_gone(worker: Any) -> bool:
    """Say whether a process is gone for certain; one that cannot be looked at from here is not."""
    if not isinstance(worker, Mapping) or worker.get("host") != socket.gethostname():
        return False
    place, pid = worker.get("place"), worker.get("pid")
    if not isinstance(pid, int) or place not in (None, _place()):
        return False
    if place is not None:
        return _started(pid) != worker.get("started")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _started(pid: int) -> int | None:
    """Return when a process was started, in the kernel's ticks; None where it is gone, a zombie, or cannot be asked."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _place() -> str | None:
    """Name what process numbers belong to: this start of the machine, and the container; None where nobody tells."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def _last_words(worker: Mapping[str, Any]) -> str:
    return f"Its worker, process {worker.get('pid')} on {worker.get('host')}, is dead or silent."


def _storage_of(study: Study) -> tuple[BaseStorage, int]:
    return study._storage, study._study_id  # noqa: SLF001 -- what Optuna's own samplers and pruners do
