"""The database in which a study lives, and whose turn it is to change what several processes decide from.

Optuna checks and writes in separate steps, and SQLite knows no lock on a row: two workers may take the same waiting
trial, or both fail a dead one. What must not happen twice is done by one at a time, `exclusively`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from sqlalchemy import Engine

# Seconds: to wait for another process that writes to the file; for a server to answer at all.
SQLITE_TIMEOUT_S, CONNECT_TIMEOUT_S = 120, 10
# Drivers of PostgreSQL by what SQLAlchemy calls them, the preferred one first; it takes the second where none is named.
POSTGRES_DRIVERS = ("psycopg", "psycopg2", "pg8000")
# Has PostgreSQL notice within a minute, not two hours, that a machine is gone which has the turn.
KEEPALIVE = (
    "SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)

_turns: dict[str, _Turn] = {}
_turns_lock = threading.Lock()


def open_storage(url: str) -> RDBStorage:
    """Open a study's database, once in each process.

    Args:
        url: ``sqlite:///FILE``, ``postgresql://…`` or another of SQLAlchemy's addresses.

    Returns:
        Optuna's storage; its tables are made if they are not there.

    Raises:
        UserError: Optuna or the database's driver is missing, or the database cannot be reached or used.
    """
    return _opened(url, os.getpid())  # a connection is no use to a forked process


def full_url(url: str) -> str:
    """Name the driver of a PostgreSQL database, and a file of SQLite from the root.

    Raises:
        UserError: it is no address, or no driver is installed.

    Example:
        >>> full_url("sqlite:////tmp/study.db")
        'sqlite:////tmp/study.db'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        msg = f"hydra.sweeper.storage={url} is no database's address: write sqlite:///FILE or postgresql://HOST/NAME."
        raise UserError(msg)
    if scheme == "sqlite" and rest.startswith("/") and not rest.startswith(("//", "/:memory:")) and len(rest) > 1:
        return f"sqlite:///{Path(rest[1:]).expanduser().absolute()}"
    if scheme not in ("postgres", "postgresql"):
        return url
    for driver in POSTGRES_DRIVERS:
        if importlib.util.find_spec(driver) is not None:
            return f"postgresql+{driver}://{rest}"
    msg = f'hydra.sweeper.storage={hide_password(url)} needs a driver for PostgreSQL: pip install "psycopg[binary]".'
    raise UserError(msg)


def hide_password(url: str) -> str:
    """Return an address that can be shown.

    Example:
        >>> hide_password("postgresql://ann:secret@db.example/studies")
        'postgresql://ann:***@db.example/studies'
    """
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}{separator}{user}:***@{place}" if at and colon else url


@contextmanager
def exclusively(study: Study) -> Iterator[None]:
    """Have the turn in a study, before all other processes and threads; who has it may take it again within.

    The system frees the turn of a process that dies: it is a lock on a file beside SQLite's, or PostgreSQL's and
    MySQL's own advisory lock. With another database it holds within this process only.

    Args:
        study: In an `open_storage`.

    Raises:
        UserError: the database cannot be reached.
    """
    from optuna.storages import RDBStorage

    storage = _backend(study)
    engine = storage.engine if isinstance(storage, RDBStorage) else None
    name = f"{engine.url.render_as_string() if engine else id(storage)} {study.study_name}"
    with _turns_lock:
        turn = _turns.setdefault(f"{os.getpid()} {name}", _Turn(engine, study.study_name))
    with turn:
        yield


@contextmanager
def answering(study: Study) -> Iterator[None]:
    """Turn what a database cannot do into a sentence.

    Raises:
        UserError: the study's database cannot be reached or used.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise unreachable(str(getattr(_backend(study), "url", "null")), error) from error


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

    try:
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
    except SQLAlchemyError as error:
        raise unreachable(engine.url.render_as_string(), error) from error

    def quietly() -> None:
        with suppress(SQLAlchemyError):
            give_back()

    return quietly


def unreachable(url: str, error: BaseException) -> UserError:
    """Say that a study's database cannot be used, and what it says."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return UserError(
        f"The study's database, hydra.sweeper.storage={hide_password(url)}, cannot be used ({reason[:300]}): check the "
        "address and the server, or leave the key out to keep the study in the sweep's folder."
    )


def _backend(study: Study) -> Any:
    return getattr(study._storage, "_backend", study._storage)  # noqa: SLF001 -- behind Optuna's cache


@lru_cache(maxsize=8)
def _opened(url: str, _pid: int) -> RDBStorage:
    try:
        from optuna.exceptions import StorageInternalError
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        msg = f'A search needs Optuna ({error}): pip install "dogbreed[sweep]".'
        raise UserError(msg) from error
    options: dict[str, Any] = {"pool_pre_ping": True}
    full = full_url(url)
    if full.startswith("sqlite"):
        options["connect_args"] = {"timeout": SQLITE_TIMEOUT_S}
    elif full.startswith(("postgresql+psycopg", "mysql+pymysql")):
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    try:
        return RDBStorage(full, engine_kwargs=options)
    except ImportError as error:
        msg = f"hydra.sweeper.storage={hide_password(url)} needs a driver that is not installed ({error.__cause__})."
        raise UserError(msg) from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError, OSError, ValueError) as error:
        raise unreachable(url, error) from error
