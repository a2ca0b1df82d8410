"""The formats: how each writes a network to a file, and answers from that file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dogbreed.errors import UserError, did_you_mean, sentence_of
from dogbreed.exporting import onnx_file, torch_files
from dogbreed.exporting.answering import Answering

# (B, S, S, 3) uint8 to the outputs by name.
Answer = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Format:
    """A format that a model can be exported to.

    Args:
        name: As on the command line.
        file_name: What the file is called unless told otherwise.
        write: Gets the network, the file, what the file is to say of itself, and ONNX's opset.
        open: Reads the file by the means of those who will use it.
        packages: What it takes beside torch.
    """

    name: str
    file_name: str
    write: Callable[[Answering, Path, dict[str, Any], int], None]
    open: Callable[[Path], Answer]
    packages: tuple[str, ...] = ()


FORMATS = {
    item.name: item
    for item in (
        Format("onnx", "model.onnx", onnx_file.write, onnx_file.open_file, ("onnx", "onnxscript", "onnxruntime")),
        Format("torchscript", "model.torchscript", torch_files.write_torchscript, torch_files.open_torchscript),
        Format("pt2", "model.pt2", torch_files.write_pt2, torch_files.open_pt2),
    )
}
CARD = "card"


def read_formats(text: str) -> list[str]:
    """Read a list of formats as typed, ``onnx,pt2``; each counts once.

    Raises:
        UserError: one is unknown, or there is none.

    Example:
        >>> read_formats("onnx, PT2,onnx")
        ['onnx', 'pt2']
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    valid = [*FORMATS, CARD]
    for name in names:
        if name not in valid:
            listed = f" Valid: {', '.join(valid)}."
            hint = did_you_mean(name, valid)
            msg = f"--format {name} is unknown. {hint}{'' if hint.startswith('Valid') else listed}"
            raise UserError(msg)
    if not names:
        msg = f"Nothing to write: give --format and one or more of {', '.join(valid)}."
        raise UserError(msg)
    return names


def check_packages(formats: list[Format]) -> None:
    """Refuse formats whose packages are not installed.

    Raises:
        UserError: names them, and how to install them.
    """
    for item in formats:
        if missing := [name for name in item.packages if find_spec(name) is None]:
            msg = f"--format {item.name} needs {', '.join(missing)}: pip install 'dogbreed[export]'."
            raise UserError(msg)


def write_file(item: Format, net: Answering, file: Path, about: dict[str, Any], opset: int) -> None:
    """Write a network in a format.

    Raises:
        UserError: the format cannot hold this network.
    """
    try:
        with _quiet():
            item.write(net, file, about, opset)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        others = " or ".join(name for name in FORMATS if name != item.name)
        reason = sentence_of(error).strip().splitlines()[0]
        msg = f"{about['architecture']} cannot be written as {item.name} ({reason}): use {others}."
        raise UserError(msg) from error


def open_file(item: Format, file: Path) -> Answer:
    """Open an exported file as its users will."""
    with _quiet():
        return item.open(file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from people what torch tells developers: deprecations, and guesses about tracing that are verified here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
