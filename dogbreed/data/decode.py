"""Turn any readable picture file into RGB pixels, the same way everywhere.

Training, evaluation, prediction and serving all call `decode_image`, so that a
picture never looks different to the network in one of them.

Shape legend: C channels (3, RGB), H/W pixels.
"""

from __future__ import annotations

import contextlib
import io
import math
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import simplejpeg
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from dogbreed.data.rgb import to_rgb

# 64 megapixels of RGB are 192 MB; a JPEG beyond that is decoded at a fraction
# of its size by libjpeg, anything else beyond it is refused.
MAX_PIXELS = 64_000_000

# First two bytes of a file, and what stands near the end of a whole one.
END_MARKERS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
# The header of a JPEG may lie behind a small picture for previews.
_HEAD_BYTES, _TAIL_BYTES = 64 * 1024, 1024
_PLAIN_COLORS = ("YCbCr", "Gray", "RGB")

# Size is bounded by MAX_PIXELS, with a sentence of our own. Once for the process: filters are not thread-safe.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# Another decoder, or another way to shrink: other pixels.
DECODER = f"3, Pillow {PIL.__version__}, simplejpeg {simplejpeg.__version__}"

# EXIF orientation to what turns the picture upright.
_UPRIGHT: dict[int, Callable[[Tensor], Tensor]] = {
    2: lambda image: image.flip(-1),
    3: lambda image: image.flip(-2, -1),
    4: lambda image: image.flip(-2),
    5: lambda image: image.transpose(-2, -1),
    6: lambda image: image.rot90(-1, (-2, -1)),
    7: lambda image: image.transpose(-2, -1).flip(-2, -1),
    8: lambda image: image.rot90(1, (-2, -1)),
}
_ORIENTATION = 0x0112
# Bytes of a file that may say so: EXIF, or XMP.
_TURNED = (b"Exif\0\0", b"tiff:Orientation")

_truncated_lock = threading.Lock()


class BadImageError(Exception):
    """The bytes hold no picture that can be decoded; the message says why."""


class TooLargeError(BadImageError):
    """It may be a picture, with more pixels than are decoded."""


class ImageHeader(NamedTuple):
    """What a picture file says of itself before any pixel is decoded."""

    format: str
    mode: str
    width_px: int
    height_px: int


def decode_image(
    source: Path | str | bytes, min_side_px: int | None = None, formats: Sequence[str] | None = None
) -> Tensor:
    """Decode a picture to upright RGB pixels.

    Handles EXIF orientation, CMYK, greyscale, palette, 16-bit and floating
    point values; transparency is laid over white; of an animation the first
    frame counts; a file that is cut short is decoded as far as it goes and is
    grey below. A JPEG above `MAX_PIXELS` is decoded at 1/2, 1/4 or 1/8.

    Args:
        source: A path, or the bytes of an encoded picture.
        min_side_px: A JPEG may come at 1/2 of its size or less, if its shorter side keeps this many pixels:
            libjpeg then computes no others. None for all of them.
        formats: Pillow's names of those that may be decoded; None for whatever it reads. A JPEG always may.

    Returns:
        ``images_u8_CHW``: uint8, ``(3, H, W)``, 0..255.

    Raises:
        BadImageError: not a picture, or no pixels.
        TooLargeError: too large to decode.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if (plain := _decode_plain_jpeg(data, min_side_px)) is not None:
        return plain
    with _open(data, formats) as image:
        _bound_size(image)
        pixels = _load_pixels(image, data, formats)
        try:
            return torch.from_numpy(np.array(to_rgb(pixels))).permute(2, 0, 1)
        except Exception as error:
            msg = f"cannot be decoded ({error})"
            raise BadImageError(msg) from error


def read_header(source: Path | str | bytes) -> ImageHeader:
    """Read format, mode and size without decoding pixels.

    Args:
        source: A path, or the bytes of an encoded picture.

    Returns:
        The header; width and height are as stored, before EXIF orientation.

    Raises:
        BadImageError: not a picture, or one too large for `decode_image`.
    """
    with _open(source if isinstance(source, bytes) else Path(source)) as image:
        _bound_size(image)
        return ImageHeader(image.format or "", image.mode, image.width, image.height)


def stored_size(data: bytes, formats: Sequence[str] | None = None) -> tuple[int, int]:
    """Return width and height in pixels as a picture's header says them, however many that are.

    Args:
        data: An encoded picture.
        formats: As for `decode_image`.

    Raises:
        BadImageError: not a picture, or so large that Pillow does not even say how large (`TooLargeError`).
    """
    if _is_jpeg(data):
        with contextlib.suppress(ValueError):
            height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(data)
            return width_px, height_px
    with _open(data, formats) as image:
        return image.size


def is_cut_short(path: Path) -> bool:
    """Say whether a picture's pixel data breaks off before its end.

    A JPEG or PNG with its end marker near the end of the file is taken for
    whole, so that the usual cost is two short reads; all others are decoded.

    Raises:
        BadImageError: not a picture, one too large for `decode_image`, or one without any pixels.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(-min(path.stat().st_size, _TAIL_BYTES), io.SEEK_END)
        tail = file.read()
    # Pillow takes five times as long for no more than its own word for what is wrong.
    if not _is_plain_jpeg(head):
        read_header(path)
    marker = END_MARKERS.get(head[:2], b"")
    if marker and marker in tail:
        return False
    with _open(path) as image:
        _bound_size(image)
        try:
            image.load()
        except Exception:  # noqa: BLE001 -- decoders raise whatever they stumble over
            decode_image(path)
            return True
    return False


def _is_plain_jpeg(head: bytes) -> bool:
    """Say whether this is the beginning of a JPEG of the usual kind, of a size that can be decoded whole."""
    if not _is_jpeg(head):
        return False
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(head)
    except ValueError:
        return False
    return colors in _PLAIN_COLORS and height * width <= MAX_PIXELS


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot be read ({error.strerror or error})"
        raise BadImageError(msg) from error


def _open(source: Path | bytes, formats: Sequence[str] | None = None) -> Image.Image:
    if isinstance(source, bytes) and not source:
        msg = "empty"
        raise BadImageError(msg)
    try:
        if _is_jpeg(source):
            # Image.open would refuse a huge JPEG before draft() can shrink it.
            return JpegImageFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=list(formats) if formats else None
        )
    except UnidentifiedImageError as error:
        msg = "empty" if isinstance(source, Path) and not source.stat().st_size else "not an image"
        raise BadImageError(msg) from error
    except Image.DecompressionBombError as error:
        msg = f"more than {MAX_PIXELS // 1_000_000} megapixels"
        raise TooLargeError(msg) from error
    except OSError as error:
        msg = f"cannot be read ({error.strerror or error})"
        raise BadImageError(msg) from error
    except Exception as error:  # broken headers raise whatever the parser stumbled over
        msg = f"broken header ({error})"
        raise BadImageError(msg) from error


def _is_jpeg(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return source[:3] == b"\xff\xd8\xff"
    with source.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def _decode_plain_jpeg(data: bytes, min_side_px: int | None) -> Tensor | None:
    """Decode the usual kind of JPEG to the same pixels in half of Pillow's time; None for another or a broken one."""
    if not _is_jpeg(data):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors not in _PLAIN_COLORS or height * width > MAX_PIXELS:
            return None
        # Fractions above 1/2 take as long as the whole.
        smaller = {}
        if min_side_px and min(height, width) >= 2 * min_side_px:
            smaller = {"min_height": min_side_px, "min_width": min_side_px, "min_factor": 2}
        pixels_u8_HWC = simplejpeg.decode_jpeg(data, **smaller)
    except ValueError:
        return None
    pixels = torch.from_numpy(pixels_u8_HWC).permute(2, 0, 1)
    turn = _UPRIGHT.get(_orientation(data)) if any(mark in data for mark in _TURNED) else None
    return turn(pixels) if turn else pixels


def _orientation(data: bytes) -> int:
    try:
        with _open(data) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 -- damaged metadata says nothing about the pixels
        return 1


def _bound_size(image: Image.Image) -> bool:
    """Have a huge JPEG decoded at a fraction of its size, and say so; refuse any other huge picture."""
    scale = 1
    if image.format == "JPEG":
        scale = next((s for s in (1, 2, 4, 8) if math.prod(image.size) <= s * s * MAX_PIXELS), 8)
        if scale > 1:
            # libjpeg scales during the inverse DCT: the full picture is never in memory.
            image.draft(None, (image.width // scale, image.height // scale))
    if math.prod(image.size) > MAX_PIXELS:
        msg = f"{image.width}×{image.height} is more than {MAX_PIXELS // 1_000_000} megapixels"
        raise TooLargeError(msg)
    return scale > 1


def _load_pixels(image: Image.Image, data: bytes, formats: Sequence[str] | None) -> Image.Image:
    try:
        image.load()
    except Exception:  # noqa: BLE001 -- any decoder error: try again as far as the file goes
        image = _load_cut_short(data, formats)
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 -- damaged metadata says nothing about the pixels
        return image


def _load_cut_short(data: bytes, formats: Sequence[str] | None) -> Image.Image:
    # The flag is global to Pillow: without the lock one thread would take it down under another.
    with _truncated_lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            image = _open(data, formats)
            _bound_size(image)
            image.load()
        except BadImageError:
            raise
        except Exception as error:
            msg = f"cannot be decoded ({error})"
            raise BadImageError(msg) from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
    return image
