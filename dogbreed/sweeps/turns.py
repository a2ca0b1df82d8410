"""Whose turn it is in a study that several processes share.

Optuna checks and writes in separate steps, and SQLite knows no lock on a row: two workers may take the same waiting
trial, or both fail a dead one. What must not happen twice is done by one at a time, `exclusively`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from optuna.study import Study
    from sqlalchemy import Engine

# Has PostgreSQL notice within a minute, not two hours, that a machine is gone which has the turn.
KEEPALIVE = (
    "SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)

_turns: dict[str, _Turn] = {}
_turns_lock = threading.Lock()


@contextmanager
def exclusively(study: Study) -> Iterator[None]:
    """Have the turn in a study, before all other processes and threads; who has it may take it again within.

    The system frees the turn of a process that dies: it is a lock on a file beside SQLite's, or PostgreSQL's and
    MySQL's own advisory lock. With another database it holds within this process only.

    Args:
        study: In a database.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be reached.
    """
    from optuna.storages import RDBStorage

    storage = _backend(study)
    engine = storage.engine if isinstance(storage, RDBStorage) else None
    name = f"{engine.url.render_as_string() if engine else id(storage)} {study.study_name}"
    with _turns_lock:
        turn = _turns.setdefault(f"{os.getpid()} {name}", _Turn(engine, study.study_name))
    with turn:
        yield


class _Turn:
    """A lock of this process's threads, and with its first holder one of all processes."""

    def __init__(self, engine: Engine | None, study_name: str) -> None:
        self._engine = engine
        self._name = study_name
        self._threads = threading.RLock()
        self._depth = 0
        self._held: Any = None

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._depth == 0:
                self._held = self._hold()
            self._depth += 1
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._depth -= 1
            if self._depth == 0 and self._held is not None:
                held, self._held = self._held, None
                held()
        finally:
            self._threads.release()

    def _hold(self) -> Any:
        """Take the lock of all processes; return what gives it back."""
        if self._engine is None:
            return None
        kind, place = self._engine.dialect.name, self._engine.url.database
        if kind == "sqlite" and place and place != ":memory:":
            file = Path(place)
            lock = FileLock(file.with_name(f".{file.name}.lock"))
            lock.acquire()
            return lock.release
        if kind in ("postgresql", "mysql"):
            return _hold_in_database(self._engine, kind, self._name)
        return None


def _hold_in_database(engine: Engine, kind: str, name: str) -> Any:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    digest = hashlib.sha256(name.encode()).digest()
    if kind == "postgresql":
        key: Any = int.from_bytes(digest[:8], signed=True)
        take, free = "SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"
    else:
        key = digest.hex()[:32]
        take, free = "SELECT GET_LOCK(:key, -1)", "SELECT RELEASE_LOCK(:key)"

    def give_back() -> None:
        try:
            connection.execute(text(free), {"key": key})
        except BaseException:
            connection.invalidate()  # closed, the server frees the lock: it must not go back to the pool with it
            raise
        finally:
            connection.close()

    # Of its own: the server frees the lock when this connection ends, however it ends.
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        if kind == "postgresql":
            connection.execute(text(KEEPALIVE))
        connection.execute(text(take), {"key": key})
    except BaseException:
        connection.invalidate()
        connection.close()
        raise

    def quietly() -> None:
        with suppress(SQLAlchemyError):
            give_back()

    return quietly


def _backend(study: Study) -> Any:
    return getattr(study._storage, "_backend", study._storage)  # noqa: SLF001 -- behind Optuna's cache
