"""Bodies in JSON and in NumPy's format.

Both may lie about what they hold: nothing is built that the body itself does not pay for in bytes.

Shape legend: N pictures, C colours (3), H/W pixels.
"""

from __future__ import annotations

import binascii
import io
import json
import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from dogbreed.errors import did_you_mean
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits

EXAMPLE = '{"image": "<base64>"}, {"images": ["<base64>", …]} or {"instances": [{"b64": "<base64>"}, …]}'
_PLACES = ("image", "images", "instances")
_KEYS = (*_PLACES, "top_k", "explain")
# No base64 has any of these: a list of a million empty lists would take thirty times the memory of its text.
_STRUCTURE = (b"[", b"{", b",", b":")
# A NumPy header needs 128 bytes; a long one would go through Python's own parser.
_MAX_NPY_HEADER_CHARS = 512


@dataclass(frozen=True)
class Content:
    """What a body holds.

    Args:
        pictures: Encoded pictures, or uint8 pixels ``(3, H, W)``.
        options: ``top_k`` and ``explain`` as they stand there, unchecked.
        is_single: One picture was sent as such.
    """

    pictures: tuple[bytes | Tensor, ...]
    options: dict[str, Any] = field(default_factory=dict)
    is_single: bool = True


def check_count(count: int, limits: Limits) -> None:
    """Refuse no pictures, and too many of them.

    Raises:
        RequestError: 400 or 413.
    """
    if count < 1:
        raise RequestError(400, "The request holds no picture.")
    if count > limits.max_pictures:
        raise RequestError(413, f"The request holds {count} pictures, at most {limits.max_pictures} are taken.")


def read_json(body: bytes, limits: Limits) -> Content:
    """Read pictures in base64 and options from a JSON object.

    Raises:
        RequestError: 400 or 413, and which key is wrong.
    """
    if sum(map(body.count, _STRUCTURE)) > 8 * limits.max_pictures + 100:
        raise RequestError(413, f"The JSON body holds more than {limits.max_pictures} pictures and their options.")
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RequestError(400, f"The body is not JSON in UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise RequestError(400, f"The body is not JSON ({error.msg} at character {error.pos}).") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, NaN; nested too deeply
        raise RequestError(400, "The body is not JSON that a request needs: numbers or nesting out of range.") from None
    if not isinstance(value, dict):
        raise RequestError(400, f"The JSON body must be an object: {EXAMPLE}.")
    for key in value:
        if key not in _KEYS:
            name = key if len(key) <= 40 and key.isprintable() else key[:40].encode("unicode_escape").decode()
            raise RequestError(400, f"The JSON body has an unknown key, {name!r}. {did_you_mean(name, _KEYS)}".strip())
    places = [key for key in _PLACES if key in value]
    if len(places) != 1:
        what = f"both {places[0]} and {places[1]}" if places else "no picture"
        raise RequestError(400, f"The JSON body has {what}: send {EXAMPLE}.")
    pictures = _read_pictures(places[0], value[places[0]], limits)
    options = {key: value[key] for key in ("top_k", "explain") if value.get(key) is not None}
    return Content(pictures, options, is_single=places[0] == "image")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _read_pictures(place: str, value: Any, limits: Limits) -> tuple[bytes, ...]:
    if place == "image":
        return (_read_base64(place, value),)
    if not isinstance(value, list):
        raise RequestError(400, f"{place} must be a list: {EXAMPLE}.")
    check_count(len(value), limits)
    if place == "images":
        return tuple(_read_base64(f"images[{number}]", item) for number, item in enumerate(value))
    for number, item in enumerate(value):
        if not isinstance(item, dict) or set(item) != {"b64"}:
            raise RequestError(400, f'instances[{number}] must be an object {{"b64": "<base64>"}} and nothing else.')
    return tuple(_read_base64(f"instances[{number}].b64", item["b64"]) for number, item in enumerate(value))


def _read_base64(place: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise RequestError(400, f"{place} must be a text in base64.")
    if text[:5].lower() == "data:":  # as browsers make it
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64") or len(head) > 100:
            raise RequestError(400, f"{place} is a data: address without base64.")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        reason = str(error) if isinstance(error, binascii.Error) else "other characters than A-Z, a-z, 0-9, + and /"
        raise RequestError(400, f"{place} is not base64 ({reason}).") from None
    if not data:
        raise RequestError(400, f"{place} is empty.")
    return data


def read_npy(body: bytes, limits: Limits) -> Content:
    """Read pixels as `numpy.save` writes them: uint8, HWC, NHWC, or HW for grey.

    The shape is compared with the number of bytes before anything is made of it.

    Raises:
        RequestError: 400 or 413.
    """
    shape, is_fortran, start = _read_npy_header(body)
    is_single = len(shape) < 4
    num_pictures = 1 if is_single else shape[0]
    if len(shape) not in (2, 3, 4) or (len(shape) > 2 and shape[-1] != 3) or min(shape) < 1:
        raise RequestError(400, f"The array has shape {shape}: send HWC or NHWC with three colours, or HW.")
    check_count(num_pictures, limits)
    height, width = shape[:2] if is_single else shape[1:3]
    if height * width > limits.max_pixels:
        raise RequestError(413, f"{width}×{height} pixels are more than the {limits.max_pixels:,} that are taken.")
    if len(body) - start != math.prod(shape):
        raise RequestError(400, f"The array has {len(body) - start} bytes, its header says {math.prod(shape)}.")
    pixels = np.frombuffer(body, np.uint8, offset=start).reshape(shape, order="F" if is_fortran else "C")
    pictures_HW = [pixels] if is_single else list(pixels)
    return Content(tuple(_to_tensor(picture) for picture in pictures_HW), is_single=is_single)


def _read_npy_header(body: bytes) -> tuple[tuple[int, ...], bool, int]:
    """Return shape, whether columns come first, and where the values begin."""
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = readers[version](stream, max_header_size=_MAX_NPY_HEADER_CHARS)
    except Exception:  # noqa: BLE001 -- Python's parser of literals raises whatever it stumbles over
        raise RequestError(400, "The body is not an array as numpy.save writes it.") from None
    if dtype != np.uint8:
        name = str(dtype) if len(str(dtype)) <= 40 else "others"
        raise RequestError(400, f"The array holds {name}: send uint8, 0..255.")
    if any(type(side) is not int for side in shape):
        raise RequestError(400, "The array's shape is not made of whole numbers.")
    return shape, is_fortran, stream.tell()


def _to_tensor(pixels: np.ndarray[Any, Any]) -> Tensor:
    """Copy one picture, colours together as decoders leave them; grey becomes three equal colours."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1)
