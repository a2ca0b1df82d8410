"""From the bytes of a picture to what the network sees.

What is served is decoded by the one function that training and prediction use, `decode_image`, at full size: the pixels
are the same to the bit. What is done here comes before it: of whom are these bytes, and are they too many.

Shape legend: C colours (3), H/W pixels, S input side.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import WebPImagePlugin  # noqa: F401 -- known at once: Pillow need not load its forty others to look for it
from torch import Tensor

from dogbreed.data.decode import BadImageError, TooLargeError, decode_image, stored_size
from dogbreed.data.preprocess import MAX_ASPECT_RATIO, Preprocessing
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits

# What browsers, phones and programs send. Training reads whatever Pillow reads; of strangers we take formats whose
# memory is bounded by the size in their header. Not so TIFF, where one pixel may lie in a tile of gigabytes.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_TAKEN = "JPEG, PNG, WebP, GIF or BMP"
# Every scan of a progressive JPEG goes over the whole picture, however few bytes it has; cameras and programs write
# about ten of them.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 1_000_000_000
_START_OF_SCAN = b"\xff\xda"


@dataclass(frozen=True)
class Crop:
    """Which part of the upright picture the network sees, as shares 0..1 of its width and height."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, preprocessing: Preprocessing, height_px: int, width_px: int) -> Crop:
        """Say what `Preprocessing.center_crop` cuts out of a picture."""
        seen_h: float = height_px
        seen_w: float = width_px
        if preprocessing.crop_mode == "center":
            longest = MAX_ASPECT_RATIO * min(height_px, width_px)
            shorter = min(height_px, width_px)
            seen_h, seen_w = min(height_px, longest), min(width_px, longest)
            # As torchvision rounds the longer side.
            resized_h, resized_w = (
                int(preprocessing.resize_px * side / shorter) for side in (int(seen_h), int(seen_w))
            )
        else:
            resized_h = resized_w = preprocessing.resize_px
        side = preprocessing.input_size_px
        height, width = seen_h / height_px * side / resized_h, seen_w / width_px * side / resized_w
        return cls((1 - width) / 2, (1 - height) / 2, width, height)


@dataclass(frozen=True)
class View:
    """What the network sees of a picture.

    Args:
        pixels_u8_CSS: Centre crop, uint8.
        crop: Where it lies in the picture.
    """

    pixels_u8_CSS: Tensor
    crop: Crop


def make_view(picture: bytes | Tensor, preprocessing: Preprocessing, limits: Limits) -> View:
    """Decode a picture and cut out what the network sees; threads may do so at the same time.

    Args:
        picture: Encoded, or uint8 pixels ``(3, H, W)``.
        preprocessing: The model's.
        limits: What is too much.

    Raises:
        RequestError: 400 for what is no picture, 413 for one too large; and why.
    """
    pixels = decode_picture(picture, limits) if isinstance(picture, bytes) else picture
    height_px, width_px = pixels.shape[-2:]
    return View(preprocessing.center_crop(pixels), Crop.of(preprocessing, height_px, width_px))


def decode_picture(data: bytes, limits: Limits) -> Tensor:
    """Decode one of the formats that are taken, if its header does not say more pixels than may be.

    Returns:
        uint8, ``(3, H, W)``, upright.

    Raises:
        RequestError: 400 or 413.
    """
    if not data:
        raise RequestError(400, "The picture is empty.")
    if len(data) > limits.max_body_bytes:
        raise RequestError(413, f"The picture has {len(data):,} bytes, at most {limits.max_body_bytes:,} are taken.")
    if not _has_known_beginning(data):
        raise RequestError(400, f"These bytes are not a picture that is taken: send {_TAKEN}.")
    try:
        width_px, height_px = stored_size(data, FORMATS)
        if width_px * height_px > limits.max_pixels:
            msg = f"{width_px}×{height_px} pixels are more than the {limits.max_pixels:,} that are taken."
            raise RequestError(413, msg)
        _check_scans(data, width_px * height_px)
        return decode_image(data, formats=FORMATS)
    except TooLargeError as error:
        raise RequestError(413, f"The picture is too large: {error}.") from None
    except BadImageError as error:
        raise RequestError(400, f"The picture cannot be read: {error}.") from None


def _has_known_beginning(data: bytes) -> bool:
    beginnings = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
    return data.startswith(beginnings) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _check_scans(data: bytes, num_pixels: int) -> None:
    """Refuse a JPEG that would be gone over hundreds of times.

    In compressed data 255 is always followed by 0, so that these two bytes are a scan's beginning, or metadata's.
    """
    if data[:3] != b"\xff\xd8\xff":
        return
    num_scans = data.count(_START_OF_SCAN)
    if num_scans > _MAX_SCANS or (num_scans > 1 and num_scans * num_pixels > _MAX_SCANNED_PIXELS):
        raise RequestError(413, f"The JPEG draws its {num_pixels:,} pixels in {num_scans} scans: save it plainly.")
