"""Show and clear the cache of decoded pictures and features: ``python -m dogbreed.cache [clear [FOLDER …]]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from dogbreed.data.cache_entries import Entry

EPILOG = """\
examples:
  python -m dogbreed.cache                  what is kept, what was not used for longest first
  python -m dogbreed.cache clear photos     forget the pictures of one data set
  python -m dogbreed.cache clear            forget everything; runs decode again what they need
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: manage(sys.argv[1:]))


def manage(argv: Sequence[str]) -> None:
    """List what the cache holds, or remove it.

    Args:
        argv: Command line without the program's name.

    Raises:
        UserError: nothing is kept of a data set that is named.
    """
    from dogbreed.data.cache_entries import default_folder, entries, remove_entry

    args = _parse(argv)
    folder = (args.folder or default_folder()).expanduser()
    found = entries(folder)
    if args.action == "show":
        _show(folder, found)
        return
    if args.root:
        known = {entry.root for entry in found}
        roots = {str(Path(root).expanduser().resolve()) for root in args.root}
        for root in sorted(roots - known):
            msg = f"{folder} holds nothing of {root}: python -m dogbreed.cache lists what it holds."
            raise UserError(msg)
        found = [entry for entry in found if entry.root in roots]
    for entry in found:
        remove_entry(entry)
    sys.stdout.write(f"removed {sum(entry.num_bytes for entry in found) / 1e6:,.0f} MB from {folder}\n")


def _show(folder: Path, found: Sequence[Entry]) -> None:
    from dogbreed.tables import format_table

    if not found:
        sys.stdout.write(f"{folder} holds nothing.\n")
        return
    rows = [[f"{entry.num_bytes / 1e6:,.1f}", entry.used_text, entry.what, entry.root] for entry in found]
    sys.stdout.write(f"{format_table(['MB', 'used', 'what', 'data set'], rows)}\n\n")
    sys.stdout.write(f"{sum(entry.num_bytes for entry in found) / 1e6:,.0f} MB in {folder}\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.cache",
        description="Show or clear what is kept of pictures: decoded pixels, and features of frozen backbones.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=("show", "clear"), default="show")
    parser.add_argument("root", nargs="*", metavar="FOLDER", help="data sets to forget; all by default")
    parser.add_argument("--folder", type=Path, help="the cache, where data.cache named another")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
