"""Make probabilities mean what they say.

Shape legend: N pictures, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits_NK: Tensor, labels_N: Tensor) -> float:
    """Find the temperature that makes held-out pictures most likely.

    Divides all logits by one number (Guo et al., "On calibration of modern
    neural networks", 2017). The negative log likelihood is convex in the inverse
    temperature, so bisection on its slope finds the minimum exactly.

    Args:
        logits_NK: Logits of pictures that were not trained on.
        labels_N: Their true classes, int64.

    Returns:
        The temperature, 0.05..20; 1.0 when there are no pictures.
    """
    if len(labels_N) == 0:
        return 1.0
    logits_NK = logits_NK.double()
    true_logits_N = logits_NK.gather(1, labels_N[:, None]).squeeze(1)

    def slope(inverse: float) -> float:
        probabilities_NK = torch.softmax(logits_NK * inverse, dim=1)
        return float(((probabilities_NK * logits_NK).sum(dim=1) - true_logits_N).mean())

    low, high = math.log(1 / MAX_TEMPERATURE), math.log(1 / MIN_TEMPERATURE)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return 1 / math.exp((low + high) / 2)
