"""smdebug 1.0.34, the last release (2023), made to run on today's Python, NumPy and protobuf.

`import_smdebug` is the one way in; each function below mends one thing and says what was broken. Two ways of installing
work alike: by the extra ``debugger``, which brings protobuf 3.20; and ``pip install --no-deps smdebug`` beside whatever
protobuf there is, as SageMaker's containers need it, whose own toolkit wants protobuf 5 or later.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dogbreed.errors import UserError

_PROTOS = "smdebug.core.tfevent.proto"
# What NumPy has, too.
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


@functools.cache
def import_smdebug() -> Any:
    """Import smdebug, mended.

    Returns:
        The module ``smdebug.pytorch``: ``create_trial``, ``modes``, ``SaveConfig``, ``Hook`` and the rest.

    Raises:
        UserError: smdebug, or something that it needs and does not declare, is not installed.
    """
    # It says much on standard output, from its very import on.
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    _stand_in_for_distutils()
    _stand_in_for_pyinstrument()
    try:
        importlib.import_module("smdebug")
        _build_messages()
        _mend_numpy()
        smd = importlib.import_module("smdebug.pytorch")
    except ModuleNotFoundError as error:
        if error.name == "smdebug":
            msg = "diagnose/hook=smdebug needs the extra debugger: pip install 'dogbreed[debugger]'."
        else:  # its metadata leave out pandas, psutil and requests
            msg = f"smdebug needs {error.name}, which is not installed: pip install {error.name}."
        raise UserError(msg) from error
    _mend_bfloat16(smd.Hook)
    # Where only losses are saved it would hide errors, those of its configuration, too, and save nothing from then on.
    smd.Hook.has_default_configuration = lambda _: False
    return smd


def _stand_in_for_distutils() -> None:
    """Python 3.12 has no distutils any more, unless setuptools brings its own; smdebug wants one function of it."""
    if importlib.util.find_spec("distutils"):
        return

    def strtobool(text: str) -> int:
        return int(text.lower() in ("y", "yes", "t", "true", "on", "1"))

    package, util = types.ModuleType("distutils"), types.ModuleType("distutils.util")
    vars(util)["strtobool"] = strtobool
    vars(package)["util"] = util
    sys.modules |= {"distutils": package, "distutils.util": util}


def _stand_in_for_pyinstrument() -> None:
    """A profiler, pinned to a release of 2021 with a C extension, for what AWS has ended with PyTorch 2.0: unused."""
    if importlib.util.find_spec("pyinstrument"):
        return
    package, renderers = types.ModuleType("pyinstrument"), types.ModuleType("pyinstrument.renderers")
    vars(package).update(Profiler=None, renderers=renderers)
    vars(renderers)["JSONRenderer"] = None
    sys.modules |= {"pyinstrument": package, "pyinstrument.renderers": renderers}


def _build_messages() -> None:
    """Protobuf 4 and later refuse what protoc made for smdebug ("Descriptors cannot be created directly").

    The generated files hold the messages' definitions as bytes, which any protobuf builds messages from. Nothing in
    the environment has to be set, and it does not matter whether TensorBoard has imported protobuf before.
    """
    protobuf = importlib.import_module("google.protobuf")
    if int(protobuf.__version__.split(".")[0]) < 4 or f"{_PROTOS}.tensor_pb2" in sys.modules:
        return
    package = importlib.import_module(_PROTOS)
    parse = importlib.import_module("google.protobuf.descriptor_pb2").FileDescriptorProto.FromString
    waiting: dict[str, tuple[str, bytes]] = {}
    for file in sorted(Path(str(package.__file__)).parent.glob("*_pb2.py")):
        serialized = _definition_in(file)
        waiting[parse(serialized).name] = file.stem, serialized

    def build(name: str) -> None:
        if name not in waiting:
            return
        stem, serialized = waiting.pop(name)
        for needed in parse(serialized).dependency:
            build(needed)
        _build_module(package, stem, serialized)

    for name in list(waiting):
        build(name)


def _definition_in(file: Path) -> bytes:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            return bytes(ast.literal_eval(node.value))
    msg = f"{file} holds no definition of messages"
    raise ImportError(msg)


def _build_module(package: types.ModuleType, stem: str, serialized: bytes) -> None:
    builder = importlib.import_module("google.protobuf.internal.builder")
    pool = importlib.import_module("google.protobuf.descriptor_pool")
    name = f"{package.__name__}.{stem}"
    module = types.ModuleType(name)
    descriptor = vars(module)["DESCRIPTOR"] = pool.Default().AddSerializedFile(serialized)
    builder.BuildMessageAndEnumDescriptors(descriptor, vars(module))
    builder.BuildTopDescriptorsAndMessages(descriptor, name, vars(module))
    sys.modules[name] = module
    setattr(package, stem, module)


def _mend_numpy() -> None:
    """NumPy 2.3 has no ``tostring``, and arrays of one number but one dimension are no numbers since 2.4."""
    util = importlib.import_module("smdebug.core.tfevent.util")
    summary = importlib.import_module("smdebug.core.tfevent.summary")
    writer = importlib.import_module("smdebug.core.writer")
    make_text_proto = util.make_tensor_proto

    def make_tensor_proto(nparray_data: Any, tag: str) -> Any:
        is_number, dtype = util._get_proto_dtype(nparray_data.dtype)  # noqa: SLF001
        if not is_number:
            return make_text_proto(nparray_data, tag)
        dims = [util.TensorShapeProto.Dim(size=size, name=f"{tag}_{size}") for size in nparray_data.shape]
        shape = util.TensorShapeProto(dim=dims)
        return util.TensorProto(dtype=dtype, tensor_content=nparray_data.tobytes(), tensor_shape=shape)

    def scalar_summary(tag: str, scalar: Any) -> Any:
        value = summary.Summary.Value(tag=summary._clean_tag(tag), simple_value=np.asarray(scalar).item())  # noqa: SLF001
        return summary.Summary(value=[value])

    # The writer has names of its own for both.
    for module in (util, writer):
        vars(module)["make_tensor_proto"] = make_tensor_proto
    for module in (summary, writer):
        vars(module)["scalar_summary"] = scalar_summary


def _mend_bfloat16(hook: Any) -> None:
    """NumPy has no bfloat16; float32 holds the same numbers."""
    make = hook._make_numpy_array  # noqa: SLF001

    def make_numpy_array(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype not in _NUMPY_FLOATS:
            value = value.float()
        return make(value)

    hook._make_numpy_array = staticmethod(make_numpy_array)  # noqa: SLF001
