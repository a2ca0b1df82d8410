"""Any of Pillow's kinds of pixels as red, green and blue of 8 bits."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Computed with at a time in double precision: of a whole picture of 64 megapixels that would take gigabytes.
_ROWS = 256


def to_rgb(image: Image.Image) -> Image.Image:
    """Lay a picture over white where it is transparent, scale deeper values to 0..255, and make three colours of it."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating point greys to 0..255; Pillow's own convert would clip them."""
    values = np.asarray(image)
    if image.mode == "F":
        full_scale = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
    else:
        full_scale = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
    scaled = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):
        rows = np.nan_to_num(values[top : top + _ROWS].astype(np.float64))
        scaled[top : top + _ROWS] = np.round(np.clip(rows / full_scale, 0.0, 1.0) * 255.0)
    return Image.fromarray(scaled)
