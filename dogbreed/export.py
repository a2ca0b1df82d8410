"""Export: ``python -m dogbreed.export RUN_OR_MODEL_FOLDER --format onnx,pt2,card``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError
from dogbreed.files import disk_errors
from dogbreed.imports import importing

EPILOG = """\
examples:
  python -m dogbreed.export runs/NAME --format onnx               writes runs/NAME/exports/model.onnx
  python -m dogbreed.export runs/NAME --format onnx,pt2 --card    two files and a model card
  python -m dogbreed.export runs/NAME/model --format onnx --output dogs.onnx --pictures photos/
"""
CARD = "card"


def main() -> None:
    """Run the command line."""
    run_command(lambda: export(sys.argv[1:]))


def export(argv: Sequence[str]) -> None:
    """Write a model in other formats, or a card about it, and print where.

    Args:
        argv: Command line without the program's name.

    Raises:
        UserError: no model folder, an unknown format, a missing package, a place that cannot be written, or a file
            that would answer otherwise than the model.
    """
    args = _parse(argv)

    from dogbreed.model_folder import find_model_folder

    model_dir = find_model_folder(args.model)

    from dogbreed.exporting.formats import read_formats
    from dogbreed.exporting.onnx_file import OPSETS

    names = read_formats(",".join([*args.format, *([CARD] if args.card else [])]))
    if args.opset not in OPSETS:
        msg = f"--opset {args.opset} cannot be written: choose {OPSETS[0]} to {OPSETS[-1]}."
        raise UserError(msg)
    places = _places(names, model_dir, args.output)
    taken = list(places.values())
    if CARD in places:
        from dogbreed.exporting.card import card_pictures, write_card

        pictures = card_pictures(model_dir, places[CARD], with_mistakes=args.mistakes)
        taken += [target for source, target in pictures.items() if source.resolve() != target.resolve()]
    _check(taken, args.force)
    targets = {name: place for name, place in places.items() if name != CARD}
    # Beside the first file: with several they lie in one folder.
    with disk_errors(next(iter(places.values())), "--output FILE"):
        if args.output is None:
            next(iter(places.values())).parent.mkdir(exist_ok=True)
        if targets:
            _export(args, targets)
        if CARD in places:
            for file in write_card(model_dir, places[CARD], with_mistakes=args.mistakes):
                sys.stdout.write(f"{CARD:<12} {file}\n")


def _export(args: argparse.Namespace, targets: Mapping[str, Path]) -> None:
    with importing():
        from dogbreed.exporting.writing import export_model

    for item in export_model(args.model, targets, opset=args.opset, pictures=args.pictures):
        size = f"{item.file.stat().st_size / 1e6:.1f} MB"
        sys.stdout.write(f"{item.format:<12} {item.file}  {size}, verified: {item.verification}\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.export",
        description="Write a trained model in other formats, verified, and a card about it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="RUN_OR_MODEL_FOLDER", help="what python -m dogbreed.train has written")
    what = "onnx, pt2, torchscript (which torch deprecates), card; several: onnx,pt2"
    parser.add_argument("--format", action="append", default=[], metavar="NAMES", help=what)
    parser.add_argument("--card", action="store_true", help="write a model card, as --format card")
    default = "exports/ beside the model folder"
    parser.add_argument("--output", metavar="FILE", help=f"a file, or a folder for several (default: {default})")
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="version of ONNX's operators (default: 18)")
    parser.add_argument("--pictures", metavar="DIR", help="verify with pictures of this folder (default: the run's)")
    parser.add_argument("--mistakes", action="store_true", help="put mistakes.png, photographs, beside the card, too")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    return parser.parse_args(argv)


def _places(names: Sequence[str], model_dir: Path, output: str | None) -> dict[str, Path]:
    """Return where each format's file goes.

    Raises:
        UserError: one file is named for several, there is no such folder, or its ending is another format's.
    """
    from dogbreed.exporting.formats import FORMATS

    file_names = {name: "README.md" if name == CARD else FORMATS[name].file_name for name in names}
    if output is None:
        folder = model_dir.parent / "exports"
        return {name: folder / file_name for name, file_name in file_names.items()}
    path = Path(output).expanduser()
    if path.is_dir():
        return {name: path / file_name for name, file_name in file_names.items()}
    if len(names) > 1:
        what = "is a file" if path.exists() else "does not exist"
        msg = f"--output {output} {what}: name a folder that is there for {len(names)} files."
        raise UserError(msg)
    if not path.parent.is_dir():
        msg = f"--output {output}: {path.parent} does not exist."
        raise UserError(msg)
    endings = {Path(item.file_name).suffix: item.name for item in FORMATS.values()}
    if (other := endings.get(path.suffix)) and other != names[0]:
        msg = f"--output {output} ends as {other} does, and --format is {names[0]}: change one of them."
        raise UserError(msg)
    return {names[0]: path}


def _check(places: Sequence[Path], force: bool) -> None:  # noqa: FBT001 -- as typed
    for place in places:
        if place.exists() and not force:
            msg = f"{place} exists already: add --force to replace it, or choose another place with --output."
            raise UserError(msg)


if __name__ == "__main__":
    run_program(main)
