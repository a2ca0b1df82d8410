"""The socket that clients connect to."""

from __future__ import annotations

import errno
import socket

from dogbreed.errors import UserError

BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that clients connect to.

    Args:
        host: An address or a name.
        port: 0 for any that is free.

    Raises:
        UserError: the port is in use, or may not be; there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        msg = f"--host {host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of its addresses."
        raise UserError(msg) from error
    # With the protocol's number: without it asyncio leaves answers to wait 40 ms for the client's acknowledgement.
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(_why_not(error, host, port)) from error
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use by another program: choose another one with --port, or 0 for any that is free."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} is not for this user: choose one above 1023 with --port."
    return f"--host {host} is no address of this machine ({error.strerror}): use 127.0.0.1, or 0.0.0.0 for all of them."
