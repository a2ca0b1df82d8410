"""Cut and resize many rectangles at once, on whatever device the pixels live.

Shape legend: B batch, C channels (3), P pixels of all stored pictures, S output side, L longest side of the rectangles.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Half the width of each filter at scale 1, and the filter itself, as torch's antialiased interpolation has them.
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def cut_and_resize(
    pixels_u8_PC: Tensor,
    offsets_B: Tensor,
    widths_B: Tensor,
    boxes_B4: Tensor,
    longest: tuple[int, int],
    *,
    side_px: int,
    interpolation: str,
    is_flipped_B: Tensor,
) -> Tensor:
    """Cut a rectangle out of each of some pictures that lie one behind the other, and resize it to a square.

    The same as torchvision's ``resize(…, antialias=True)`` of the rectangle, within one level of 255.

    Args:
        pixels_u8_PC: Rows of all pictures, uint8.
        offsets_B: First pixel of each picture, int64.
        widths_B: Width of each picture in pixels, int64.
        boxes_B4: Top, left, height and width in pixels, int64, inside the picture.
        longest: Largest height and largest width among the boxes; known to the host, which need not ask the device.
        side_px: S.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.
        is_flipped_B: Mirror it left to right.

    Returns:
        uint8, ``(B, 3, S, S)``, channels_last.

    Cost:
        Two batched matrix products, 2 · B · C · S · L · (L + S) operations; no host synchronisation.
    """
    top_B, left_B, height_B, width_B = boxes_B4.unbind(1)
    rows_BL = _within(top_B, height_B, longest[0])
    columns_BL = _within(left_B, width_B, longest[1])
    places_BLL = offsets_B[:, None, None] + rows_BL[:, :, None] * widths_B[:, None, None] + columns_BL[:, None, :]
    dtype = torch.float16 if pixels_u8_PC.is_cuda else torch.float32  # tensor cores; 255 is exact in both
    cut_BCLL = pixels_u8_PC[places_BLL].permute(0, 3, 1, 2).to(dtype)
    vertical_BSL = resize_weights(height_B, side_px, longest[0], interpolation)
    horizontal_BSL = resize_weights(width_B, side_px, longest[1], interpolation)
    horizontal_BSL = torch.where(is_flipped_B[:, None, None], horizontal_BSL.flip(1), horizontal_BSL)
    narrow_BCLS = cut_BCLL @ horizontal_BSL.to(dtype).transpose(1, 2)[:, None]
    # torchvision keeps whole numbers between its two passes: a cubic overshoots, and is cut off twice.
    square_BCSS = vertical_BSL.to(dtype)[:, None] @ narrow_BCLS.round().clamp(0, 255)
    return square_BCSS.round().clamp(0, 255).to(torch.uint8, memory_format=torch.channels_last)


def _within(start_B: Tensor, length_B: Tensor, longest: int) -> Tensor:
    """Return ``(B, L)`` coordinates from each start on; beyond its length the last one again."""
    steps_L = torch.arange(longest, device=start_B.device)
    return start_B[:, None] + torch.minimum(steps_L, length_B[:, None] - 1)


def resize_weights(lengths_B: Tensor, size: int, longest: int, interpolation: str) -> Tensor:
    """Return how much each source pixel counts for each output pixel along one side.

    Pixel centres at half integers; where the picture shrinks, the filter widens by the same factor (antialiasing),
    as in torch's ``interpolate(…, antialias=True)``.

    Args:
        lengths_B: Source lengths, >= 1.
        size: S.
        longest: L, at least the longest of them.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.

    Returns:
        ``(B, S, L)`` float32; each row sums to 1 over the source's length and is 0 beyond it.
    """
    source_L = torch.arange(longest, device=lengths_B.device, dtype=torch.float32)
    output_S = torch.arange(size, device=lengths_B.device, dtype=torch.float32)
    scale_B11 = lengths_B.to(torch.float32)[:, None, None] / size
    if interpolation == "nearest":
        nearest_BS1 = (output_S[None, :, None] * scale_B11).floor()
        return (source_L == nearest_BS1).to(torch.float32)
    center_BS1 = (output_S[None, :, None] + 0.5) * scale_B11
    distance_BSL = ((source_L + 0.5 - center_BS1) / scale_B11.clamp(min=1)).abs()
    weights_BSL = _linear(distance_BSL) if interpolation == "bilinear" else _cubic(distance_BSL)
    weights_BSL = weights_BSL * (source_L < lengths_B[:, None, None])
    return weights_BSL / weights_BSL.sum(dim=2, keepdim=True)


def _linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2 ("Cubic convolution interpolation", 1981), as Pillow and torch have it."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))
