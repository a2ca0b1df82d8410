"""The one definition of how a picture becomes network input.

It follows the weights (timm's ``pretrained_cfg``), is stored in the model
folder, and is used unchanged by training, evaluation, prediction and serving.

Shape legend: B batch, C channels (3), H/W pixels, S input side.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as tvf
from torch import Tensor
from torchvision.transforms import InterpolationMode

from dogbreed.errors import UserError, did_you_mean

# A panorama more elongated than this is first cropped around its centre, which
# the centre crop would keep anyway; it bounds the size of the resized picture.
MAX_ASPECT_RATIO = 4

INTERPOLATIONS = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


@dataclass(frozen=True)
class Preprocessing:
    """Numbers that turn decoded pixels into network input.

    Args:
        input_size_px: Side S of the square that the network sees, >= 8.
        resize_px: Shorter side after resizing, before the centre crop, >= ``input_size_px``.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic`` (antialiased).
        mean: Per-channel mean of the normalisation, 0..1 units, RGB.
        std: Per-channel deviation of the normalisation, 0..1 units, RGB, > 0.
        crop_mode: ``center`` keeps the proportions and cuts the centre; ``squash``
            resizes to a square first, as some weights were trained.

    Raises:
        UserError: a value is out of range.
    """

    input_size_px: int = 224
    resize_px: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if not 8 <= self.input_size_px <= self.resize_px:
            msg = (
                f"model.input_size_px={self.input_size_px} must be at least 8 and at most "
                f"the resized side ({self.resize_px})."
            )
            raise UserError(msg)
        if self.interpolation not in INTERPOLATIONS:
            msg = f"interpolation={self.interpolation} is unknown; valid: {', '.join(INTERPOLATIONS)}."
            raise UserError(msg)
        if self.crop_mode not in ("center", "squash"):
            msg = f"crop_mode={self.crop_mode} is unknown; valid: center, squash."
            raise UserError(msg)
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            msg = f"mean={self.mean} and std={self.std} must be three numbers each, every std above 0."
            raise UserError(msg)

    @classmethod
    def of(
        cls, architecture: str, input_size_px: int | None = None, given: Mapping[str, Any] | None = None
    ) -> Preprocessing:
        """Read the definition that belongs to an architecture's weights.

        Args:
            architecture: A timm name, with or without the tag of its weights.
            input_size_px: Another input side than the weights were trained with;
                the proportion of the centre crop stays.
            given: Fields that do not follow the weights.

        Returns:
            timm's mean, deviation, interpolation and centre crop, where not given.

        Raises:
            UserError: timm knows no such architecture, or there is no such field.

        Example:
            >>> Preprocessing.of("resnet18.tv_in1k").resize_px
            256
        """
        from dogbreed.architectures import pretrained_cfg

        given = given or {}
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                msg = (
                    f"model.preprocessing.{name} does not exist. {did_you_mean(name, names)} Valid: {', '.join(names)}."
                )
                raise UserError(msg)
        weights = pretrained_cfg(architecture)
        defaults = cls()
        side = (
            given.get("input_size_px")
            or input_size_px
            or int(weights.get("input_size", (3, defaults.input_size_px))[-1])
        )
        crop_fraction = min(float(weights.get("crop_pct") or 0.875), 1.0)
        interpolation = str(weights.get("interpolation") or defaults.interpolation)
        own: dict[str, Any] = {
            "input_size_px": side,
            "resize_px": math.floor(side / crop_fraction),
            "interpolation": interpolation if interpolation in INTERPOLATIONS else "bicubic",
            "mean": weights.get("mean") or defaults.mean,
            "std": weights.get("std") or defaults.std,
            "crop_mode": "squash" if weights.get("crop_mode") == "squash" else "center",
        }
        return cls(**{**own, **given})

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists, as stored in ``model.json`` and checkpoints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def center_crop(self, image_u8_CHW: Tensor) -> Tensor:
        """Resize the shorter side and cut the centre: the view of evaluation and prediction.

        Args:
            image_u8_CHW: Decoded pixels, uint8, any size.

        Returns:
            uint8, ``(3, S, S)``.
        """
        if self.crop_mode == "center":
            image_u8_CHW, size = _bound_aspect_ratio(image_u8_CHW), [self.resize_px]
        else:
            size = [self.resize_px, self.resize_px]
        resized = resize(image_u8_CHW, size, self.interpolation)
        return tvf.center_crop(resized, [self.input_size_px, self.input_size_px])

    def normalize(self, images_u8_BCHW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Turn raw pixels into network input on whatever device they already live.

        Args:
            images_u8_BCHW: Pixels 0..255, uint8, any memory format.
            dtype: Floating type of the result.

        Returns:
            ``(B, 3, S, S)`` in ``dtype``, channels_last, about -3..3.

        Raises:
            TypeError: the pixels are not uint8 (already normalised?).

        Cost:
            One read and one write of the batch; no host synchronisation after
            the first call on a device.
        """
        return normalize_batch(images_u8_BCHW, self.mean, self.std, dtype)


def resize(image_u8_CHW: Tensor, size: Sequence[int], interpolation: str) -> Tensor:
    """Resize one picture, antialiased, as torchvision does.

    Args:
        image_u8_CHW: Decoded pixels, uint8, any size; fastest where colours lie together, as decoders leave them.
        size: Height and width in pixels, or the shorter side alone.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.

    Returns:
        uint8, ``(3, H, W)``, colours together if they were.
    """
    # A batch of one made of CHW would hide from torch that colours lie together.
    batch_1CHW = image_u8_CHW.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    if len(size) == 2 and interpolation != "nearest" and _computes_in_bytes():
        # What torchvision comes to, without its questions, which take as long as a third of the work.
        return F.interpolate(batch_1CHW, list(size), mode=interpolation, antialias=True)[0]
    mode = INTERPOLATIONS[interpolation]
    resized_1CHW: Tensor = tvf.resize_image(batch_1CHW, list(size), interpolation=mode, antialias=True)
    return resized_1CHW[0]


def shrink(image_u8_CHW: Tensor, side_px: int, interpolation: str) -> Tensor:
    """Shrink a picture until its shorter side has so many pixels, in four fifths of the time that `resize` takes.

    Whole rows are weighted and added in a third of the time a pixel that it takes to go along them; so rows come
    first, and fewer are left to go along. torchvision rounds and cuts off after the other pass: results differ by one
    level at most; where a cubic overshoots, at hard edges, by some more (of photographs 1 value in 20,000).

    Args:
        image_u8_CHW: Decoded pixels, uint8, its shorter side at least ``side_px``.
        side_px: Shorter side of the result in pixels.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic`` (antialiased).

    Returns:
        uint8, ``(3, H, W)``, its size as torchvision computes it.
    """
    height, width = image_u8_CHW.shape[-2:]
    shorter = min(height, width)
    size = [int(side_px * height / shorter), int(side_px * width / shorter)]
    return resize(resize(image_u8_CHW, [size[0], width], interpolation), size, interpolation)


@functools.cache
def _computes_in_bytes() -> bool:
    """Say whether torch resizes uint8 as it is on this CPU; elsewhere torchvision has it compute in float32."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def normalize_batch(
    images_u8_BCHW: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Scale pixels to 0..1, subtract the mean and divide by the deviation.

    Args:
        images_u8_BCHW: Pixels 0..255, uint8.
        mean: Per-channel mean, 0..1 units.
        std: Per-channel deviation, 0..1 units, > 0.
        dtype: Floating type of the result.

    Returns:
        ``(B, 3, H, W)`` in ``dtype``, channels_last.

    Raises:
        TypeError: the pixels are not uint8.

    Example:
        >>> pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
        >>> normalize_batch(pixels, (0.5,) * 3, (0.5,) * 3).unique().item()
        -1.0
    """
    if images_u8_BCHW.dtype != torch.uint8:
        msg = f"expected uint8 pixels, got {images_u8_BCHW.dtype}: already normalised?"
        raise TypeError(msg)
    size, channels, height, width = images_u8_BCHW.shape
    scale_R, shift_R = _scale_and_shift(mean, std, width, images_u8_BCHW.device)
    images = torch.empty_like(images_u8_BCHW, dtype=torch.float32, memory_format=torch.channels_last)
    # The colours of a row lie together: by constants as long as a row, not three long, whole vectors are computed.
    rows_BHR = images.permute(0, 2, 3, 1).view(size, height, width * channels)
    # A CPU's cache holds one picture, not a batch.
    pieces = range(size) if images.device.type == "cpu" else [slice(None)]
    for piece in pieces:
        images[piece].copy_(images_u8_BCHW[piece])
        rows_BHR[piece].mul_(scale_R).add_(shift_R)
    return images.to(dtype)


@functools.lru_cache(maxsize=32)
def _scale_and_shift(
    mean: tuple[float, float, float], std: tuple[float, float, float], width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Prepare the constants of a row of pixels once a device: a copy in every step would make the host wait."""
    mean_C, std_C = torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
    return (1.0 / (255.0 * std_C)).repeat(width).to(device), (-mean_C / std_C).repeat(width).to(device)


def _bound_aspect_ratio(image_u8_CHW: Tensor) -> Tensor:
    height, width = image_u8_CHW.shape[-2:]
    longest = MAX_ASPECT_RATIO * min(height, width)
    if max(height, width) <= longest:
        return image_u8_CHW
    return tvf.center_crop(image_u8_CHW, [min(height, longest), min(width, longest)])
