"""Pack a data set into a few large files: ``python -m dogbreed.pack PHOTOS PACK``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from dogbreed.data.candidates import Candidate

EPILOG = """\
examples:
  python -m dogbreed.pack photos/ packed/
  python -m dogbreed.pack photos/ s3://BUCKET/photos
  python -m dogbreed.train data=streaming data.root=s3://BUCKET/photos
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: pack(sys.argv[1:]))


def pack(argv: Sequence[str]) -> None:
    """Scan a folder or a manifest as training does, and pack what was found.

    Args:
        argv: Command line without the program's name.

    Raises:
        UserError: there is nothing to pack, or the place cannot be written or holds a pack already.
    """
    args = _parse(argv)
    if args.shard_mb < 1:
        msg = f"--shard-mb {args.shard_mb} must be at least 1."
        raise UserError(msg)

    from tqdm import tqdm

    from dogbreed.data.pack import write_pack
    from dogbreed.data.scan import scan_folder, scan_manifest
    from dogbreed.data.splits import SplitRule
    from dogbreed.data.storage import storage_of

    if "://" not in args.target and Path(args.target).resolve().is_relative_to(args.source.resolve()):
        msg = f"{args.target} lies within {args.source}, the pictures: name another place for the pack."
        raise UserError(msg)
    storage = storage_of(args.target)
    bar = partial(tqdm, disable=None, delay=1, leave=False, unit="pictures")
    rule = SplitRule(args.valid_fraction, args.test_fraction, args.split_seed)

    def look(items: Iterable[Candidate], total: int) -> Iterable[Candidate]:
        return bar(items, desc="scan pictures", total=total)

    def write(items: Iterable[int], total: int) -> Iterable[int]:
        return bar(items, desc="pack", total=total)

    if args.manifest:
        index = scan_manifest(args.manifest, args.source, rule, progress=look)
    else:
        index = scan_folder(args.source, rule, progress=look)
    for sentence in (*index.report.notes, *index.report.warnings()):
        sys.stderr.write(f"{sentence}\n")
    summary = write_pack(index, storage, round(1e6 * args.shard_mb), write)
    counts = " / ".join(f"{count:,} {split}" for split, count in index.counts().items())
    sys.stdout.write(
        f"packed {counts} pictures of {len(index.class_names)} classes into {summary.num_shards} files, "
        f"{summary.num_bytes / 1e6:,.1f} MB: {storage.where}\n"
        f"python -m dogbreed.train data=streaming data.root={args.target}\n"
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.pack",
        description="Pack a data set into a few large files that train from a folder or from S3 without unpacking.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="folder of pictures: train|valid|test/CLASS/… or CLASS/…")
    parser.add_argument("target", help="folder, or s3://BUCKET/PREFIX; it must not hold a pack yet")
    parser.add_argument("--manifest", type=Path, metavar="CSV", help="path,label[,split] of the pictures in source")
    parser.add_argument("--shard-mb", type=float, default=128.0, metavar="MB", help="size of a file (128)")
    parser.add_argument("--valid-fraction", type=float, default=0.15, metavar="SHARE", help="if there is no such split")
    parser.add_argument("--test-fraction", type=float, default=0.15, metavar="SHARE", help="if there are no splits")
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="another seed, another cut")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
