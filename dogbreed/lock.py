"""Who is at work in a folder: a lock that the system frees when its holder dies.

`run.lock` names its holder for people; what counts is the ``flock`` on it. A process
number would not do: it is given to others again, and two who find a dead one could
both take it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError

# File systems that know no locks, or (NFS: EBADF) none on folders.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)

_held: set[int] = set()
_reserved: dict[Path, RunLock] = {}


class LockedError(UserError):
    """Somebody else is at work there."""


class RunLock:
    """A file that is held for the life of the process, or until it is released.

    Args:
        path: The file; made if it is not there.

    Raises:
        LockedError: it is held, or belongs to another machine, whose processes nobody here can see.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open_locked(path)
        theirs = _read(self._descriptor)
        if theirs.get("host") not in (None, socket.gethostname()):
            os.close(self._descriptor)
            raise LockedError(_sentence(path, theirs))
        os.ftruncate(self._descriptor, 0)
        mine = {"pid": os.getpid(), "host": socket.gethostname()}
        os.pwrite(self._descriptor, json.dumps(mine).encode(), 0)
        _held.add(self._descriptor)

    def reserve(self) -> None:
        """Leave the lock, held, to whoever takes it next in this process."""
        _reserved[self.path.absolute()] = self

    def release(self) -> None:
        """Let others in."""
        self.path.unlink(missing_ok=True)  # while it is held: who waits for it must find another file or none
        _let_go(self._descriptor)


def take_lock(path: Path) -> RunLock:
    """Take a lock, or take over what this process has reserved.

    Raises:
        LockedError: as `RunLock`.
    """
    return _reserved.pop(path.absolute(), None) or RunLock(path)


def is_held(path: Path) -> bool:
    """Say whether somebody holds a lock, as far as can be told from here; nothing is taken or changed.

    The holder of one on another machine cannot be seen: it counts as alive, as for `RunLock`.

    Args:
        path: The lock's file; none means that nobody holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, and for a moment only: two who look do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return _read(descriptor).get("host") not in (None, socket.gethostname())
    except BlockingIOError:
        return True
    except OSError:  # a file system that knows no locks: what the file says has to do
        return bool(_read(descriptor))
    finally:
        os.close(descriptor)


def hold_folder(folder: Path) -> int:
    """Hold a folder that other runs may name, too; return what `release_folder` needs.

    The folder itself: a file in it would travel with the folder to other machines.

    Raises:
        LockedError: another run holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        msg = f"{folder} belongs to a run that is going on: choose another folder, checkpoint_dir=DIR."
        raise LockedError(msg) from None
    _held.add(descriptor)
    return descriptor


def release_folder(descriptor: int | None) -> None:
    """Let others have what `hold_folder` has held, if anything."""
    if descriptor is not None:
        _let_go(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(descriptor)
        except BlockingIOError:
            theirs = _read(descriptor)
            os.close(descriptor)
            raise LockedError(_sentence(path, theirs)) from None
        # Its holder may have removed the file since we have opened it.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)


def _flock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _let_go(descriptor: int) -> None:
    _held.discard(descriptor)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a process forked just now has it open, too
    os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    """Return who holds a lock; empty where its holder was killed before it could say so."""
    try:
        theirs = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return theirs if isinstance(theirs, dict) else {}


def _sentence(path: Path, theirs: dict[str, Any]) -> str:
    return (
        f"{path.parent} belongs to a run that is going on (process {theirs.get('pid')} on {theirs.get('host')}): "
        f"choose another folder, or delete {path} if that run is dead."
    )


def _forget() -> None:
    """Let go of what the parent holds: loader processes outlive a parent that is killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()
    _reserved.clear()


os.register_at_fork(after_in_child=_forget)
