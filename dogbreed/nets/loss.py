"""The training loss: cross entropy with soft targets, mixed pictures and weighted classes.

Shape legend: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dogbreed.errors import UserError

CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class LossSettings:
    """What training minimises.

    Args:
        label_smoothing: Share of the target that is spread evenly over all classes, 0 <= s < 1
            (Szegedy et al., "Rethinking the Inception architecture", 2016).
        class_weights: ``balanced`` gives every class the same weight in sum, however few
            pictures it has; ``none`` gives every picture the same.

    Raises:
        UserError: a value is unknown or out of range.
    """

    label_smoothing: float = 0.0
    class_weights: str = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            msg = f"loss.label_smoothing={self.label_smoothing} must be at least 0 and below 1."
            raise UserError(msg)
        if self.class_weights not in CLASS_WEIGHTS:
            msg = f"loss.class_weights={self.class_weights} is unknown; use {' or '.join(CLASS_WEIGHTS)}."
            raise UserError(msg)


class TrainingLoss(nn.Module):
    """Mean cross entropy of a batch, as `LossSettings` want it.

    Args:
        settings: Smoothing and class weights.
        class_counts: Training pictures of each class, K numbers; needed for balanced weights.

    Raises:
        UserError: weights are to be balanced and the counts are missing, or a class has no picture.
    """

    weights_K: Tensor | None

    def __init__(self, settings: LossSettings, class_counts: Sequence[int] | None = None) -> None:
        super().__init__()
        self.settings = settings
        weights_K = None
        if settings.class_weights == "balanced":
            if not class_counts or min(class_counts) < 1:
                msg = f"loss.class_weights=balanced needs a training picture of every class, got counts {class_counts}."
                raise UserError(msg)
            weights_K = balanced_weights(class_counts)
        self.register_buffer("weights_K", weights_K, persistent=False)

    def forward(
        self, logits_BK: Tensor, labels_B: Tensor, partners_B: Tensor | None = None, shares_B: Tensor | None = None
    ) -> Tensor:
        """Compute the mean loss.

        Args:
            logits_BK: The network's output.
            labels_B: True class of each picture, int64.
            partners_B: Class of the picture that is mixed into it, if any is.
            shares_B: Share of the picture itself in the mixture, 0..1.
        """
        loss_B = self._per_picture(logits_BK, labels_B)
        if partners_B is not None and shares_B is not None:
            loss_B = shares_B * loss_B + (1 - shares_B) * self._per_picture(logits_BK, partners_B)
        return loss_B.mean()

    def _per_picture(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        smoothing = self.settings.label_smoothing
        loss_B = nn.functional.cross_entropy(logits_BK, labels_B, label_smoothing=smoothing, reduction="none")
        return loss_B if self.weights_K is None else loss_B * self.weights_K[labels_B]


def balanced_weights(class_counts: Sequence[int]) -> Tensor:
    """Weigh classes inversely to their pictures, so that the mean weight of a picture is 1.

    Args:
        class_counts: Pictures of each class, each >= 1.

    Returns:
        ``(K,)`` float32.

    Example:
        >>> balanced_weights([1, 3]).tolist()
        [2.0, 0.6666666865348816]
    """
    counts_K = torch.tensor(class_counts, dtype=torch.float64)
    return (counts_K.sum() / (len(counts_K) * counts_K)).float()
