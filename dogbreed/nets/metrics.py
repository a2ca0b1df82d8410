"""Exact classification metrics, summed on the device, computed once an epoch.

Shape legend: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dogbreed.distributed import sum_over_ranks


class ClassificationMetrics(nn.Module):
    """Sums from which every metric follows; every picture counts once, whatever the batches.

    The sums are buffers: they move with the module and are no part of its state
    dict. An update never makes the host wait for the device.

    Args:
        num_classes: K, >= 2.
    """

    confusion_KK: Tensor
    top5_hits: Tensor
    loss_sum: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("confusion_KK", torch.zeros(num_classes, num_classes, dtype=torch.int64), persistent=False)
        self.register_buffer("top5_hits", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("loss_sum", torch.zeros(()), persistent=False)

    def reset(self) -> None:
        """Forget everything."""
        self.confusion_KK.zero_()
        self.top5_hits.zero_()
        # Anew, not zero_(): a module cast to bfloat16 takes its buffers along, and sums need float32.
        self.loss_sum = torch.zeros((), dtype=torch.float32, device=self.loss_sum.device)

    def sums(self) -> dict[str, Tensor]:
        """Return copies of the sums, by name."""
        return {name: buffer.detach().clone() for name, buffer in self.named_buffers()}

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Go on from sums of an earlier time."""
        self.reset()
        for name, buffer in self.named_buffers():
            buffer.copy_(sums[name])

    @torch.no_grad()
    def update(self, logits_BK: Tensor, labels_B: Tensor, loss: Tensor) -> None:
        """Count one batch.

        Args:
            logits_BK: The network's output.
            labels_B: True class indices, int64.
            loss: Mean loss over the batch, a scalar.
        """
        predicted_B = logits_BK.argmax(dim=1)
        cells_B = labels_B * self.num_classes + predicted_B
        self.confusion_KK.view(-1).index_add_(0, cells_B, torch.ones_like(cells_B))
        top5_B5 = logits_BK.topk(min(5, self.num_classes), dim=1).indices
        self.top5_hits += (top5_B5 == labels_B[:, None]).sum()
        self.loss_sum += loss.detach().float() * labels_B.numel()

    def total_confusion(self) -> Tensor:
        """Return ``(K, K)`` counts of all ranks, on the CPU; each rank must call it."""
        return sum_over_ranks(self.confusion_KK)

    def compute(self) -> dict[str, float]:
        """Return the metrics of all that was counted since the last reset, on all ranks; each must call it.

        Returns:
            ``acc_top1``, ``acc_top5`` and ``f1_macro`` in 0..1, ``loss`` >= 0; NaN
            for each when nothing was counted. Macro F1 is the plain mean over the
            classes that were seen or predicted (as scikit-learn's ``f1_score``).
        """
        confusion_KK = self.total_confusion()
        top5_hits, loss_sum = sum_over_ranks(self.top5_hits), sum_over_ranks(self.loss_sum)
        count = int(confusion_KK.sum())
        if count == 0:
            return dict.fromkeys(("loss", "acc_top1", "acc_top5", "f1_macro"), float("nan"))
        return {
            "loss": float(loss_sum) / count,
            "acc_top1": int(confusion_KK.diagonal().sum()) / count,
            "acc_top5": int(top5_hits) / count,
            "f1_macro": float(f1_per_class(confusion_KK).nanmean()),
        }


def precision_per_class(confusion_KK: Tensor) -> Tensor:
    """Compute the share of the pictures predicted as each class that are of it.

    Args:
        confusion_KK: Counts; rows true classes, columns predicted ones.

    Returns:
        ``(K,)`` in 0..1; NaN for a class that was never predicted.

    Example:
        >>> precision_per_class(torch.tensor([[3, 1], [0, 2]])).tolist()
        [1.0, 0.6666666865348816]
    """
    return confusion_KK.diagonal() / confusion_KK.sum(dim=0)


def recall_per_class(confusion_KK: Tensor) -> Tensor:
    """Compute the share of the pictures of each class that are predicted as it.

    Args:
        confusion_KK: Counts; rows true classes, columns predicted ones.

    Returns:
        ``(K,)`` in 0..1; NaN for a class without pictures.

    Example:
        >>> recall_per_class(torch.tensor([[3, 1], [0, 2]])).tolist()
        [0.75, 1.0]
    """
    return confusion_KK.diagonal() / confusion_KK.sum(dim=1)


def f1_per_class(confusion_KK: Tensor) -> Tensor:
    """Compute F1 for each class: twice the hits over what was true plus what was predicted.

    Args:
        confusion_KK: Counts; rows true classes, columns predicted ones.

    Returns:
        ``(K,)`` in 0..1; NaN for a class that was neither seen nor predicted.

    Example:
        >>> f1_per_class(torch.tensor([[3, 1], [0, 2]])).tolist()
        [0.8571428656578064, 0.800000011920929]
    """
    hits_K = confusion_KK.diagonal()
    return 2 * hits_K / (confusion_KK.sum(dim=0) + confusion_KK.sum(dim=1))
