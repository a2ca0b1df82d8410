"""What a client has sent: bytes and their content type in, pictures and wishes out.

Nothing is opened that a request names: no path, no address. The bytes decide what a picture is, not what is said of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dogbreed.serving.bodies import Content, read_json, read_npy
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.multipart import read_multipart

__all__ = ["Limits", "Request", "read_custom_attributes", "read_request"]

MAX_TOP_K = 1000
TAKEN = "image/* (the bytes of a picture), application/json, multipart/form-data or application/x-npy"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Request:
    """What is to be answered.

    Args:
        pictures: Encoded pictures, or uint8 pixels ``(3, H, W)`` from a NumPy body; at least one.
        top_k: Classes per answer, >= 1.
        explain: Say where the network looked.
        is_single: The client sent one picture as such, and wants one answer rather than a list.
    """

    pictures: tuple[bytes | Tensor, ...]
    top_k: int = 5
    explain: bool = False
    is_single: bool = True


def read_request(body: bytes, content_type: str, options: Mapping[str, str], limits: Limits) -> Request:
    """Read a request.

    Args:
        body: As it came.
        content_type: Of the header; empty for none.
        options: ``top_k`` and ``explain`` from the query string or `read_custom_attributes`; others mean nothing to us.
            What the body itself says of them counts more.
        limits: What is too much.

    Returns:
        At least one picture; none is decoded yet.

    Raises:
        RequestError: 400, 413 or 415, and why.
    """
    if len(body) > limits.max_body_bytes:
        msg = f"The body has {len(body):,} bytes, at most {limits.max_body_bytes:,} are taken."
        raise RequestError(413, msg)
    if not body:
        raise RequestError(400, "The request has no body: send a picture.")
    content = _read_content(body, content_type, limits)
    merged = {**options, **content.options}
    return Request(
        content.pictures, _read_top_k(merged.get("top_k")), _read_explain(merged.get("explain")), content.is_single
    )


def read_custom_attributes(text: str) -> dict[str, str]:
    """Read SageMaker's ``X-Amzn-SageMaker-Custom-Attributes``; what is no ``name=value`` is passed over.

    Example:
        >>> read_custom_attributes("top_k=3, explain=true,c000b4f9-df62-4c85")
        {'top_k': '3', 'explain': 'true'}
    """
    pairs = (part.partition("=") for part in text.replace(";", ",").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _read_content(body: bytes, content_type: str, limits: Limits) -> Content:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", "application/octet-stream") or kind.startswith("image/"):
        return Content((body,))
    if kind == "application/json":
        return read_json(body, limits)
    if kind == "multipart/form-data":
        return read_multipart(body, content_type, limits)
    if kind == "application/x-npy":
        return read_npy(body, limits)
    said = kind if len(kind) <= 60 and kind.isascii() and kind.isprintable() else "this"
    raise RequestError(415, f"Content-Type {said} is not taken: send {TAKEN}.")


def _read_top_k(value: Any) -> int:
    if value is None:
        return 5
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 6:
        value = int(value)
    if type(value) is not int or not 1 <= value <= MAX_TOP_K:  # True is an int, too
        raise RequestError(400, f"top_k must be a whole number from 1 to {MAX_TOP_K}.")
    return value


def _read_explain(value: Any) -> bool:
    if value is None:
        return False
    if isinstance(value, str):
        value = _TRUTHS.get(value.lower())
    if not isinstance(value, bool):
        raise RequestError(400, "explain must be true or false.")
    return value
