"""A real PostgreSQL server of the test's own: Debian's package, a data folder of its own, on loopback."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path("/usr/lib/postgresql")


def missing():
    """What it takes to run the tests with PostgreSQL, and is not here; empty where all is."""
    if not list(PACKAGE.glob("*/bin/initdb")):
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if not importlib.util.find_spec("psycopg"):
        return "no driver for PostgreSQL is installed (pip install 'psycopg[binary]')"
    return ""


@contextmanager
def running():
    """Start a server; yield the address of its database as `hydra.sweeper.storage` takes it."""
    programs = max(PACKAGE.glob("*/bin/initdb"), key=lambda file: int(file.parent.parent.name)).parent
    folder = Path(tempfile.mkdtemp(prefix="dogbreed_postgres_"))  # others may enter it, unlike pytest's own
    who = {}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        who = {"user": "postgres", "group": "postgres"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def control(name, *arguments):
        command = [programs / name, "-D", folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60, **who)

    control("initdb", "-A", "trust", "-U", "dogbreed", "-E", "UTF8", "--locale=C", "--no-sync")
    control("pg_ctl", "-w", "-l", folder / "log", "-o", f"-p {port} -h 127.0.0.1 -k {folder} -F", "start")
    try:
        yield f"postgresql://dogbreed@127.0.0.1:{port}/postgres"
    finally:
        control("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
