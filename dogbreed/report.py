"""Report: ``python -m dogbreed.report RUN``, or several runs, or a sweep's folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError
from dogbreed.files import disk_errors

EPILOG = """\
examples:
  python -m dogbreed.report runs/NAME                      writes runs/NAME/report.html
  python -m dogbreed.report runs/ONE runs/OTHER            writes comparison.html here
  python -m dogbreed.report runs/sweep_NAME --out best.html
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: report(sys.argv[1:]))


def report(argv: Sequence[str]) -> None:
    """Write a page about a run, or one that compares several; print where it is, and of one run what it says first.

    Args:
        argv: Command line without the program's name.

    Raises:
        UserError: there is no run, nothing of it can be read, or the page cannot be written.
    """
    args = _parse(argv)
    folders = [Path(name).expanduser() for name in args.runs]
    out = Path(args.out).expanduser() if args.out else None
    if out and out.is_dir():
        msg = f"--out {out} is a folder: name a file in it."
        raise UserError(msg)
    if out and not out.parent.is_dir():
        msg = f"--out {out}: {out.parent} does not exist."
        raise UserError(msg)

    from dogbreed.reporting import holds_sweep, summarise, write_comparison, write_report, write_sweep_page

    with disk_errors(out or folders[0], "--out FILE"):
        if len(folders) > 1:
            written = write_comparison(folders, out)
        elif holds_sweep(folders[0]):
            written = write_sweep_page(folders[0], out)
        else:
            written = write_report(folders[0], out)
            sys.stdout.write(f"{summarise(folders[0])}\n")
    sys.stdout.write(f"report  {written}\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.report",
        description="Write one self-contained page about a run, at any moment of its life, or one that compares runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, several, or the folder of a sweep")
    default = "report.html in the run folder, sweep.html in the sweep's, or comparison.html here"
    parser.add_argument("--out", metavar="FILE", help=f"where the page goes (default: {default})")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
