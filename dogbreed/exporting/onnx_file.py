"""ONNX: a file for ONNX Runtime and whatever else reads the format.

Shape legend: B batch, S input side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dogbreed.errors import UserError
from dogbreed.exporting.answering import PIXELS, Answering, describe_flat

if TYPE_CHECKING:
    import onnx_ir

# What torch's exporter writes, and what it can convert that to.
OPSETS = range(18, 26)
MAX_BYTES = 2_000_000_000  # of a file in protobuf's format


def write(net: Answering, file: Path, about: dict[str, Any], opset: int) -> None:
    """Write a network as one ONNX file with its description in the file's metadata.

    Raises:
        UserError: the opset cannot be written, or the network is too large.
    """
    import onnx

    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if num_bytes > MAX_BYTES:
        msg = f"{about['architecture']} has {num_bytes / 1e9:.1f} GB of weights, an ONNX file holds 2 GB: use pt2."
        raise UserError(msg)
    side = about["preprocessing"]["input_size_px"]
    program = torch.onnx.export(
        net,
        (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
        dynamo=True,
        input_names=[PIXELS],
        output_names=list(about["outputs"]),
        dynamic_shapes={PIXELS: {0: torch.export.Dim("batch")}},
        opset_version=opset,
        verbose=False,
    )
    assert program is not None
    model = program.model
    if model.opset_imports.get("") != opset:
        msg = f"{about['architecture']} cannot be written with --opset {opset}: leave it out."
        raise UserError(msg)
    _forget_sources(model)
    model.producer_name, model.producer_version = "dogbreed", about["versions"]["exported"]["dogbreed"]
    model.doc_string = about["description"]
    model.graph.name = about["architecture"]
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.doc_string = (about["input"] | about["outputs"])[value.name]
    model.metadata_props.update(describe_flat(about))
    program.save(file)
    onnx.checker.check_model(file, full_check=True)


def _forget_sources(model: onnx_ir.Model) -> None:
    """Drop where each operation stands in this machine's source files: half of a small network's file, and private."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for function in model.functions.values():
        for node in function.all_nodes():
            node.metadata_props.clear()


def open_file(file: Path) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]:
    """Open a file in ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def answer(pixels_BSS3: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {PIXELS: pixels_BSS3}), strict=True))

    return answer
