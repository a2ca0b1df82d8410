"""``python -m launch.standin``: start it; run a command in it, or print what to export and stay until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from dogbreed.command import run_command
from dogbreed.errors import UserError
from dogbreed.processes import handling

EPILOG = """\
examples:
  python -m launch.standin bash                  a shell in which AWS is here; "exit" ends both
  python -m launch.standin                       in one terminal; in another, paste the lines that it prints, and then
  python -m launch.train launch=cpu              ships a run to it
  python -m launch.standin --interrupt epoch=1   take a spot job's machine away at its line with epoch=1, once
  curl -X POST $AWS_ENDPOINT_URL/standin/faults -d '{"throttle_attempts": 2}'     a bad day (DELETE ends it)

Jobs run for real, with Amazon's training toolkit, on this machine. What is stored is forgotten at the end.
"""


def main() -> None:
    """Run the command line."""
    run_command(run)


def run() -> int:
    """Start the stand-in; run the command in it, or stay.

    Returns:
        The command's exit code.

    Raises:
        UserError: moto is not installed, or the port is taken.
        KeyboardInterrupt: Ctrl-C, which ends it.
    """
    args = _parse()
    try:
        from launch.standin.server import StandIn
    except ImportError as error:
        msg = "The stand-in needs moto's server and boto3: pip install 'moto[server]' 'dogbreed[sagemaker]'."
        raise UserError(msg) from error
    with StandIn(args.folder, args.port, args.region, args.max_jobs) as standin:
        standin.faults.set(interrupt_on=args.interrupt)
        if args.command:
            return _run(args.command, standin.environment)
        for name, value in standin.environment.items():
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.write(f"# AWS stands in at {standin.url}, bucket {standin.bucket}, jobs below {standin.folder}\n")
        sys.stdout.write("# Ctrl-C ends it.\n")
        sys.stdout.flush()
        threading.Event().wait()
    return 0


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command that finds AWS here; return its exit code.

    Raises:
        UserError: there is no such command.
    """
    try:
        with handling(lambda *_: None, signal.SIGINT):  # Ctrl-C is for the command, a shell for instance
            return subprocess.run(command, env=os.environ | environment, check=False).returncode  # noqa: S603
    except OSError as error:
        msg = f"{command[0]} cannot be run: {error.strerror}."
        raise UserError(msg) from error


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m launch.standin",
        description="AWS on this machine, for trying launches without an account: S3, IAM, STS, logs and SageMaker.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run in it, and then end")
    parser.add_argument("--port", type=int, default=5055, metavar="P", help="0 for a free one (default: 5055)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where jobs run (default: a temporary one)")
    parser.add_argument("--region", default="us-east-1", help="AWS region (default: us-east-1)")
    parser.add_argument("--max-jobs", type=int, default=1, metavar="N", help="jobs at a time (default: 1)")
    parser.add_argument("--interrupt", default="", metavar="TEXT", help="interrupt spot jobs at a line with this text")
    return parser.parse_args()


if __name__ == "__main__":
    main()
