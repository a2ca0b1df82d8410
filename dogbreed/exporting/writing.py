"""Export a model folder: write each file beside its place, verify it there, and only then give it its name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dogbreed.errors import UserError
from dogbreed.exporting.answering import Answering, describe
from dogbreed.exporting.formats import FORMATS, Format, check_packages, open_file, write_file
from dogbreed.exporting.pictures import real_views
from dogbreed.exporting.verifying import Expected, Verification, expect, verify
from dogbreed.files import remove_unfinished, replacing
from dogbreed.loaded_model import LoadedModel
from dogbreed.model_folder import find_model_folder, load_model

DEFAULT_OPSET = 18
# Nobody writes a file for so long without a change: it is what a killed export has left.
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        format: Its format.
        file: Where it is.
        verification: How it was compared.
    """

    format: str
    file: Path
    verification: Verification


def export_model(
    folder: str | Path,
    targets: Mapping[str, str | Path],
    *,
    opset: int = DEFAULT_OPSET,
    pictures: str | Path | None = None,
) -> list[Exported]:
    """Write a model in other formats, all of them or none.

    Each file takes uint8 pixels of cropped pictures and answers with calibrated probabilities; what it takes to use it
    is in its metadata. Before a file gets its name it answers for real pictures as the model folder does.

    Args:
        folder: A run folder or a model folder.
        targets: Files by format: ``onnx``, ``torchscript``, ``pt2``; older ones are replaced.
        opset: Version of ONNX's operators, 18 to 25.
        pictures: A folder of pictures to verify with; otherwise the example in the model folder, and up to 32 that
            the run was measured on, where they are still there.

    Returns:
        What was written, in the order of ``targets``.

    Raises:
        UserError: no model folder, a missing package, a network that a format cannot hold, or a file that answers
            otherwise than the model.
    """
    formats = [FORMATS[name] for name in targets]
    check_packages(formats)
    model_dir = find_model_folder(folder)
    model = load_model(model_dir)
    given = Path(pictures).expanduser() if pictures is not None else None
    expected = expect(model, real_views(model_dir, model.preprocessing, given))
    net, about = Answering(model).eval(), describe(model)
    written = []
    with ExitStack() as places:  # they get their names when all are verified
        for item in formats:
            target = Path(targets[item.name]).expanduser().absolute()
            remove_unfinished(target.parent, [target.name], ABANDONED_S)
            unfinished = places.enter_context(replacing(target))
            write_file(item, net, unfinished, about, opset)
            written.append(Exported(item.name, target, _verify(item, unfinished, expected, model)))
    return written


def _verify(item: Format, file: Path, expected: Expected, model: LoadedModel) -> Verification:
    """Open the very file and compare.

    Raises:
        UserError: it answers otherwise, or not at all.
    """
    others = " or ".join(name for name in FORMATS if name != item.name)
    try:
        return verify(open_file(item, file), expected)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        what = f"{model.architecture} is not written as {item.name}, which would not answer as the model folder"
        msg = f"{what} ({reason}): use {others}."
        raise UserError(msg) from error
