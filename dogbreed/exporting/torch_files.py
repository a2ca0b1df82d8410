"""The two formats that torch reads without any of our code: torch.export's pt2, and TorchScript, its predecessor.

Shape legend: B batch, S input side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dogbreed.exporting.answering import PIXELS, Answering

# The file's own entry that describes it.
DESCRIPTION = "dogbreed.json"
# Where each line of TorchScript comes from in this machine's source files; and what the writer adds by itself.
_SOURCES, _ADDED = ".debug_pkl", (".data/serialization_id", ".data/version", "version", "byteorder")


def write_pt2(net: Answering, file: Path, about: dict[str, Any], _: int) -> None:
    """Write what `torch.export.load` reads; ``extra_files={"dogbreed.json": ""}`` gets the description."""
    program = torch.export.export(
        net, (_example(about),), dynamic_shapes={PIXELS: {0: torch.export.Dim("batch", min=1)}}, strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names of this machine's files
    with file.open("wb") as stream:  # by its name torch would ask for another ending
        torch.export.save(program, stream, extra_files={DESCRIPTION: json.dumps(about, ensure_ascii=False)})


def open_pt2(file: Path) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]:
    """Open a file with torch.export."""
    with file.open("rb") as stream:
        return _answers_of(torch.export.load(stream).module())


def write_torchscript(net: Answering, file: Path, about: dict[str, Any], _: int) -> None:
    """Write what `torch.jit.load` reads; ``_extra_files={"dogbreed.json": ""}`` gets the description."""
    with torch.no_grad():
        traced = torch.jit.trace(net, _example(about), strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        frozen = torch.jit.freeze(traced)
    torch.jit.save(frozen, file, _extra_files={DESCRIPTION: json.dumps(about, ensure_ascii=False)})
    _forget_sources(file)


def _forget_sources(file: Path) -> None:
    """Write an archive anew without the names of this machine's files."""
    reader = torch._C.PyTorchFileReader(str(file))  # noqa: SLF001 -- the zip's alignment is torch's own
    kept = [name for name in reader.get_all_records() if not name.endswith(_SOURCES) and name not in _ADDED]
    content = {name: reader.get_record(name) for name in kept}
    del reader
    with file.open("wb") as stream:
        writer = torch._C.PyTorchFileWriter(stream)  # noqa: SLF001
        for name, record in content.items():
            writer.write_record(name, record, len(record))
        writer.write_end_of_file()


def open_torchscript(file: Path) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]:
    """Open a file with TorchScript."""
    return _answers_of(torch.jit.load(file))  # type: ignore[no-untyped-call]


def _example(about: Mapping[str, Any]) -> torch.Tensor:
    side = about["preprocessing"]["input_size_px"]
    return torch.zeros(2, side, side, 3, dtype=torch.uint8)


def _answers_of(module: Callable[..., Any]) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]:
    def answer(pixels_BSS3: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        with torch.inference_mode():
            answers = module(torch.from_numpy(pixels_BSS3))
        return {name: tensor.numpy() for name, tensor in answers.items()}

    return answer
