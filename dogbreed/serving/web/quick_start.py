"""A start without torch's compiler, which takes 1.5 seconds and 140 MB to import and which serving never calls.

torchvision asks it one question when a certain operator is compiled, and timm marks functions that it shall leave
alone: both import it whole. While they are imported they get an answer that asks the compiler later, if ever.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_ASKED = "torch._dynamo.utils"


class _Later(ModuleType):
    """Stands for the module that is asked; whatever else is wanted of it is the real one's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _is_compile_supported if name == "is_compile_supported" else getattr(_real(), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Import torchvision and timm within; where the compiler is there already, nothing is different.

    What timm marks is then not marked, which would matter if one of its networks were compiled in this process.
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    marks = torch.compiler.disable
    sys.modules[_ASKED] = _Later(_ASKED)
    torch.compiler.disable = _leave_as_it_is  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = marks
        _forget()


def _leave_as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    return function if function is not None else lambda later: later


def _is_compile_supported(device_type: str) -> bool:
    return bool(_real().is_compile_supported(device_type))


def _forget() -> None:
    if isinstance(sys.modules.get(_ASKED), _Later):
        del sys.modules[_ASKED]


def _real() -> Any:
    _forget()
    return importlib.import_module(_ASKED)
