"""Compare what an exported file answers with what the model folder answers.

Shape legend: B batch, C channels, S input side, N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.exporting.answering import FAMILIARITY, PROBABILITIES
from dogbreed.loaded_model import LoadedModel
from dogbreed.nets.features import logits_and_features

# Of a probability: the same convolutions in another order of addition differ by about 1e-7.
TOLERANCE = 1e-5
# Of a cosine: familiarity counts held-out pictures, and a picture that is one of them lies on the edge.
COSINE_TOLERANCE = 1e-4
# Both must do: networks are exported with a free batch size, and what is traced may have one built in.
BATCH_SIZES = 1, 3
NUM_RANDOM = 4


class DifferentError(Exception):
    """A file answers otherwise than the model folder; the message says how."""


@dataclass(frozen=True)
class Expected:
    """What the model folder answers for pictures.

    Args:
        views_u8_NCSS: The pictures.
        probabilities_NK: Its probabilities.
        familiarity_N2: The least and the most that a familiarity may be, where the model can tell one.
    """

    views_u8_NCSS: Tensor
    probabilities_NK: NDArray[np.float32]
    familiarity_N2: NDArray[np.float32] | None


@dataclass(frozen=True)
class Verification:
    """What a comparison has found.

    Args:
        num_pictures: How many pictures were compared, drawn ones included.
        num_random: How many of these are drawn noise.
        largest_difference: Of a probability.
    """

    num_pictures: int
    num_random: int
    largest_difference: float

    def __str__(self) -> str:
        """Say it in a few words."""
        real = self.num_pictures - self.num_random
        return f"{real} picture{'s' * (real != 1)} and {self.num_random} of noise, within {self.largest_difference:.1g}"


@torch.inference_mode()
def expect(model: LoadedModel, views: list[Tensor]) -> Expected:
    """Have the model folder answer for real pictures, and for a few of noise, always the same.

    Args:
        model: The original, on the CPU.
        views: uint8, ``(3, S, S)`` each, as `Preprocessing.center_crop` makes them.
    """
    side = model.preprocessing.input_size_px
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (NUM_RANDOM, 3, side, side), generator=generator, dtype=torch.uint8)
    views_u8_NCSS = torch.cat([torch.stack(views), noise]) if views else noise
    probabilities, familiarities = [], []
    for batch_u8_BCSS in torch.split(views_u8_NCSS, 8):
        probabilities.append(model.probabilities(batch_u8_BCSS))
        if model.familiarity:
            _, features_BD = logits_and_features(model.net, model.preprocessing.normalize(batch_u8_BCSS))
            similarity_B = model.familiarity.similarity(features_BD)
            bounds = [model.familiarity.rank(similarity_B + shift) for shift in (-COSINE_TOLERANCE, COSINE_TOLERANCE)]
            familiarities.append(torch.stack(bounds, dim=1))
    familiarity_N2 = torch.cat(familiarities).numpy() if familiarities else None
    return Expected(views_u8_NCSS, torch.cat(probabilities).numpy(), familiarity_N2)


def verify(answer: Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]], expected: Expected) -> Verification:
    """Ask an exported file about the same pictures, in batches of one and of three.

    Probabilities within the tolerance have the same first classes, but for those that are within twice of it.

    Raises:
        DifferentError: an answer differs, or is none.
    """
    pixels_NSS3 = np.ascontiguousarray(expected.views_u8_NCSS.permute(0, 2, 3, 1).numpy())
    starts = [0, *range(BATCH_SIZES[0], len(pixels_NSS3), BATCH_SIZES[1])]
    answers = [answer(pixels_NSS3[a:b]) for a, b in zip(starts, [*starts[1:], len(pixels_NSS3)], strict=True)]
    outputs = {name: np.concatenate([part[name] for part in answers]) for name in answers[0]}
    largest = _largest_difference(outputs.get(PROBABILITIES), expected.probabilities_NK)
    if not largest <= TOLERANCE:
        msg = f"probabilities differ from the model folder's by up to {largest:.2g}, more than {TOLERANCE:g}"
        raise DifferentError(msg)
    if expected.familiarity_N2 is not None:
        low_N, high_N = expected.familiarity_N2.T
        found_N = outputs.get(FAMILIARITY)
        # Half a picture of room: the same count divided in another order.
        if found_N is None or not ((found_N >= low_N - 1e-6) & (found_N <= high_N + 1e-6)).all():
            msg = "familiarity differs from the model folder's"
            raise DifferentError(msg)
    return Verification(len(pixels_NSS3), NUM_RANDOM, largest)


def _largest_difference(found: NDArray[np.float32] | None, expected: NDArray[np.float32]) -> float:
    """Return infinity where there is nothing to compare, NaN where a number is none."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max())
