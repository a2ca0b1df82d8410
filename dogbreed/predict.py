"""Predict: ``python -m dogbreed.predict RUN_OR_MODEL_FOLDER photo.jpg folder/ --top-k 5 --json``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.command import run_command, run_program
from dogbreed.errors import UserError
from dogbreed.imports import importing

if TYPE_CHECKING:
    from dogbreed.loaded_model import LoadedModel

EPILOG = """\
examples:
  python -m dogbreed.predict runs/NAME photo.jpg
  python -m dogbreed.predict runs/NAME/model photos/ --top-k 3 --json > answers.json
"""


def main() -> None:
    """Run the command line."""
    run_command(lambda: predict(sys.argv[1:]))


def predict(argv: Sequence[str]) -> int:
    """Classify pictures and print the answers.

    Args:
        argv: Command line without the program's name.

    Returns:
        0, or 2 when a picture could not be read; the others are answered all the same.

    Raises:
        UserError: no model folder, no such picture, or nothing to classify.
    """
    args = _parse(argv)
    for option, number in (("--top-k", args.top_k), ("--batch-size", args.batch_size)):
        if number < 1:
            msg = f"{option} {number} must be at least 1."
            raise UserError(msg)
    files = list(list_pictures(args.pictures))
    if not files:
        msg = f"No files in {', '.join(args.pictures)}."
        raise UserError(msg)

    with importing():
        import torch
        from tqdm import tqdm

        from dogbreed.model_folder import load_model

    model = load_model(args.model, "cuda" if torch.cuda.is_available() else "cpu")
    answers: list[dict[str, Any]] = []
    starts = tqdm(range(0, len(files), args.batch_size), unit="batch", disable=None, delay=1, leave=False)
    for start in starts:
        answers += _answer(model, files[start : start + args.batch_size], args.top_k)
        if not args.json:
            with tqdm.external_write_mode():
                for answer in answers[start:]:
                    print_answer(answer)
    if args.json:
        json.dump(answers, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    return 2 if any("error" in answer for answer in answers) else 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dogbreed.predict",
        description="Classify pictures with a trained model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="RUN_OR_MODEL_FOLDER", help="what python -m dogbreed.train has written")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE_OR_FOLDER", help="folders are searched to the bottom")
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="classes per picture (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once (default: 32)")
    return parser.parse_args(argv)


def list_pictures(paths: Sequence[str]) -> Iterator[Path]:
    """List pictures, and what is in folders, to the bottom; hidden files are left out.

    Raises:
        UserError: a path does not exist.
    """
    for name in paths:
        path = Path(name).expanduser()
        if path.is_dir():
            for parent, folders, files in os.walk(path):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                yield from (Path(parent) / file for file in sorted(files) if not file.startswith("."))
        elif path.exists():
            yield path
        else:
            msg = f"{name} does not exist."
            raise UserError(msg)


def _answer(model: LoadedModel, files: Sequence[Path], top_k: int) -> list[dict[str, Any]]:
    """Answer for one batch; a file that is no picture gets its reason instead of a class."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from dogbreed.data.decode import BadImageError, decode_image

    def load(file: Path) -> torch.Tensor | str:
        try:
            return model.preprocessing.center_crop(decode_image(file))
        except BadImageError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        loaded = list(pool.map(load, files))
    views = [view for view in loaded if isinstance(view, torch.Tensor)]
    predictions = iter(model.answer(torch.stack(views), top_k) if views else ())
    return [
        {"file": str(file), "error": item}
        if isinstance(item, str)
        else {"file": str(file), **next(predictions).to_dict()}
        for file, item in zip(files, loaded, strict=True)
    ]


def print_answer(answer: dict[str, Any]) -> None:
    """Print one answer on a line; the reason of one that could not be had goes to standard error.

    Args:
        answer: As ``--json`` prints it.
    """
    if "error" in answer:
        sys.stderr.write(f"Error: {answer['file']}: {answer['error']}.\n")
        return
    top = "  ".join(f"{item['label']} {item['probability']:.1%}" for item in answer["top"])
    unlike = "  (unlike the training data)" if answer["unlike_training_data"] else ""
    sys.stdout.write(f"{answer['file']}  {top}{unlike}\n")


if __name__ == "__main__":
    run_program(main)
