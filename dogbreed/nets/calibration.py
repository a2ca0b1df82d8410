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


def expected_calibration_error(probabilities_NK: Tensor, labels_N: Tensor, num_bins: int = 15) -> float:
    """Measure how far confidence and accuracy are apart, on average over the pictures.

    Pictures are put into bins of equal width by their top probability; the gap between
    mean confidence and accuracy of each bin is weighted with its share of the pictures
    (Guo et al., "On calibration of modern neural networks", 2017, equation 3).
    With few pictures it is too large: chance alone moves small bins apart.

    Args:
        probabilities_NK: Rows that sum to 1.
        labels_N: True classes, int64.
        num_bins: Bins over 0..1, each open below and closed above, >= 1.

    Returns:
        0..1, 0 for perfect calibration; NaN when there are no pictures.

    Example:
        Of two pictures, each 0.75 sure, one is right: 0.5 is 0.25 too little.

        >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [0.75, 0.25]]), torch.tensor([0, 1]))
        0.25
    """
    if len(labels_N) == 0:
        return math.nan
    confidence_N, predicted_N = probabilities_NK.double().max(dim=1)
    gap_N = (predicted_N == labels_N).double() - confidence_N
    inner_edges = torch.arange(1, num_bins, dtype=torch.float64, device=gap_N.device) / num_bins
    bins_N = torch.bucketize(confidence_N, inner_edges)
    # A bin's weight is its count over N: what is left is the sum of its gaps over N.
    gaps = torch.zeros(num_bins, dtype=torch.float64, device=gap_N.device).index_add_(0, bins_N, gap_N)
    return float(gaps.abs().sum() / len(labels_N))
