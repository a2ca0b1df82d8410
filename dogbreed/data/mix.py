"""Mixtures of pictures: mixup and cutmix, drawn for each picture, applied to a batch on its device.

Shape legend: B batch, C channels (3), S input side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.errors import UserError


@dataclass(frozen=True)
class MixSettings:
    """How often and how much pictures are mixed.

    Args:
        probability: Chance that a picture is mixed with another, 0..1.
        mixup_alpha: Both parameters of the beta distribution of mixup's shares, >= 0;
            0 is no mixup (Zhang et al., "mixup", 2018).
        cutmix_alpha: The same for cutmix (Yun et al., "CutMix", 2019). Where both are
            above 0, each is drawn half of the time.

    Raises:
        UserError: a value is out of range.
    """

    probability: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            msg = f"augment.mix.probability={self.probability} must be between 0 and 1."
            raise UserError(msg)
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                msg = f"augment.mix.{name}={getattr(self, name)} must not be negative."
                raise UserError(msg)

    @property
    def mixes(self) -> bool:
        """Say whether any picture is ever mixed."""
        return self.probability > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


def draw_mix(settings: MixSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw how one picture is mixed with its partner.

    The picture itself keeps at least half: a pair and its mirror image are equally
    likely in both papers, so that nothing is lost, and the picture's own label stays
    the one to count its accuracy by.

    Args:
        settings: How often and how much.
        rng: The generator of this picture in this epoch.

    Returns:
        ``(5,)``: the picture's opacity 0.5..1, and the partner's rectangle as top,
        bottom, left, right in 0..1 (empty for mixup).
    """
    draw = np.array([1.0, 0.0, 0.0, 0.0, 0.0], dtype=np.float32)
    if settings.mixes and rng.random() < settings.probability:
        alphas = (settings.mixup_alpha, settings.cutmix_alpha)
        cuts = alphas[1] > 0 and (alphas[0] == 0 or rng.random() < 0.5)
        share = rng.beta(alphas[cuts], alphas[cuts])
        share = max(share, 1 - share)
        if cuts:
            side = math.sqrt(1 - share)
            top, left = rng.uniform(0, 1 - side, size=2)
            draw[1:] = top, top + side, left, left + side
        else:
            draw[0] = share
    return draw


def mix_batch(images_u8_BCSS: Tensor, draws_B5: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each picture of a batch with the one before it; the batch's order is random already.

    Args:
        images_u8_BCSS: Pixels 0..255, uint8.
        draws_B5: What `draw_mix` drew for each picture, on the same device.

    Returns:
        Mixed pixels, uint8, and ``(B,)`` float32 shares of each picture in its mixture, 0..1. The
        partner of picture ``b`` is picture ``b - 1``.

    Cost:
        A few passes over the batch in float32; no host synchronisation.
    """
    side = images_u8_BCSS.shape[-1]
    centers_S = (torch.arange(side, device=draws_B5.device) + 0.5) / side
    opacity_B, top_B, bottom_B, left_B, right_B = draws_B5.unbind(dim=1)
    in_rows_BS = (centers_S >= top_B[:, None]) & (centers_S < bottom_B[:, None])
    in_columns_BS = (centers_S >= left_B[:, None]) & (centers_S < right_B[:, None])
    is_cut_BSS = in_rows_BS[:, :, None] & in_columns_BS[:, None, :]
    weights_BSS = torch.where(is_cut_BSS, 0.0, opacity_B[:, None, None])
    own = images_u8_BCSS.float()
    mixed = torch.lerp(own.roll(1, dims=0), own, weights_BSS[:, None])
    return mixed.round_().to(torch.uint8), weights_BSS.mean(dim=(1, 2))
