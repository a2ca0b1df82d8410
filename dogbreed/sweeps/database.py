"""Databases that studies are kept in: opened, waited for; what is wrong with them, in a sentence."""

from __future__ import annotations

import importlib.util
import logging
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

log = logging.getLogger(__name__)
T = TypeVar("T")

# So long a database may be away before what a trial has come to is given up.
PATIENCE_S = 120.0
SQLITE_WAIT_S = 60
# Modules that SQLAlchemy asks for, and what they come in: it was psycopg2 before its release 2.1.
DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


def require_optuna() -> None:
    """Raise a UserError if Optuna is not installed; set it to say nothing but warnings."""
    if importlib.util.find_spec("optuna") is None:
        msg = 'A search needs Optuna, which is not installed: pip install "dogbreed[sweep]".'
        raise UserError(msg)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def sqlite_address(file: Path) -> str:
    """Return the address of a study's own file."""
    return f"sqlite:///{file.absolute()}"


def shown(address: str) -> str:
    """Return an address as people may see it: without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return address


def open_storage(address: str, *, is_own: bool = False) -> RDBStorage:
    """Open a database, made if it is a file that is not there.

    Args:
        address: As SQLAlchemy has it: ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``.
        is_own: It is the file in a sweep's folder, which only processes of this machine use.

    Raises:
        UserError: it cannot be reached, or its driver is missing.
    """
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy import event
    from sqlalchemy.exc import SQLAlchemyError

    is_file = address.startswith("sqlite")
    patience = {"timeout": SQLITE_WAIT_S} if is_file else {"connect_timeout": 10}
    connect_args = patience if is_file or address.startswith(("postgresql", "mysql")) else {}
    if is_file:
        _prepare_file(address, is_own=is_own)
    try:
        storage = RDBStorage(address, engine_kwargs={"connect_args": connect_args, "pool_pre_ping": not is_file})
    except ImportError as error:
        driver = DRIVERS.get(getattr(error, "name", None) or "", "its driver")
        msg = f"hydra.sweeper.storage={shown(address)} needs a driver ({_first_line(error)}): pip install {driver}."
        raise UserError(msg) from error
    except (SQLAlchemyError, StorageInternalError, OSError, RuntimeError, ValueError) as error:
        msg = (
            f"hydra.sweeper.storage={shown(address)} cannot be reached ({_first_line(error)}): check the address, "
            "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, or leave it out for a file in the sweep's folder."
        )
        raise UserError(msg) from error
    if is_file:
        event.listen(storage.engine, "connect", _hurry)
        storage.engine.dispose()  # connections made before do not know it
    return storage


def patiently(action: Callable[[], T]) -> T:
    """Do something with a database that may be away for a moment: a trial of hours must not be lost to that.

    Args:
        action: What may be done twice.

    Raises:
        UserError: the database is away for longer than `PATIENCE_S`.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    began, pause_s = time.monotonic(), 0.5
    while True:
        try:
            return action()
        except (StorageInternalError, DBAPIError, UserError) as error:
            if isinstance(error, UserError) and not isinstance(error.__cause__, (StorageInternalError, DBAPIError)):
                raise
            if time.monotonic() - began + pause_s > PATIENCE_S:
                msg = (
                    f"The study's storage cannot be reached any more ({_first_line(error)}): see to it and start again."
                )
                raise UserError(msg) from error
            if pause_s == 0.5:
                log.warning("sweep   the study's storage cannot be reached (%s): trying again", _first_line(error))
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 10.0)


def _prepare_file(address: str, *, is_own: bool) -> None:
    """Make the folder of a database's file, and set how it is written; what is wrong is said when it is opened."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    with suppress(ArgumentError, ValueError, OSError, sqlite3.Error):
        file = make_url(address).database
        if not file or file == ":memory:":
            return
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        if is_own:
            # A trial is twenty small steps; each would wait for the disk. Machines that share a file cannot have this.
            with closing(sqlite3.connect(file, timeout=SQLITE_WAIT_S)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")


def _hurry(connection: sqlite3.Connection, _: object) -> None:
    """Leave it to the system when to write a log that is safe without waiting: only a power failure loses its end."""
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous=NORMAL")


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "orig", None) or error.__cause__ or error)
    return (text.strip() or type(error).__name__).splitlines()[0].rstrip(".")
