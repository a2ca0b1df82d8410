"""Measure a network on a split, picture by picture.

Shape legend: B batch, N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dogbreed.data.dataset import Batch
from dogbreed.data.index import ImageIndex
from dogbreed.data.preprocess import Preprocessing
from dogbreed.distributed import in_turn, is_main
from dogbreed.nets.metrics import ClassificationMetrics, f1_per_class


@dataclass(frozen=True)
class SplitResult:
    """What a network says about every picture of a split.

    Args:
        split: ``train``, ``valid`` or ``test``.
        logits_NK: float32, on the CPU, in the split's order.
        labels_N: True classes, int64.
        metrics: ``loss``, ``acc_top1``, ``acc_top5``, ``f1_macro``.
        confusion_KK: Counts; rows true classes, columns predicted ones.
    """

    split: str
    logits_NK: Tensor
    labels_N: Tensor
    metrics: dict[str, float]
    confusion_KK: Tensor

    def named_metrics(self) -> dict[str, float]:
        """Return the metrics as ``val/acc_top1`` and so on; the valid split is ``val`` there."""
        prefix = "val" if self.split == "valid" else self.split
        return {f"{prefix}/{name}": value for name, value in self.metrics.items()}

    def prediction_rows(self, index: ImageIndex, temperature: float) -> list[dict[str, Any]]:
        """Return a row a picture: split, file, label, predicted, calibrated probability."""
        probabilities_NK = torch.softmax(self.logits_NK / temperature, dim=1)
        best_N, predicted_N = probabilities_NK.max(dim=1)
        columns = zip(
            index.split(self.split).paths, self.labels_N.tolist(), predicted_N.tolist(), best_N.tolist(), strict=True
        )
        return [
            {
                "split": self.split,
                "file": file,
                "label": index.class_names[label],
                "predicted": index.class_names[predicted],
                "probability": round(probability, 6),
            }
            for file, label, predicted, probability in columns
        ]

    def best_example(self, index: ImageIndex) -> Path | None:
        """Return the picture that is recognised most surely, if any is recognised."""
        confidence_N, predicted_N = torch.softmax(self.logits_NK, dim=1).max(dim=1)
        confidence_N[predicted_N != self.labels_N] = -1.0
        best = int(confidence_N.argmax())
        return index.split(self.split).path(best) if confidence_N[best] >= 0 else None

    def confusion_rows(self, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return the counts above 0 of the confusion matrix: split, label, predicted, count."""
        return [
            {
                "split": self.split,
                "label": class_names[label],
                "predicted": class_names[predicted],
                "count": int(self.confusion_KK[label, predicted]),
            }
            for label, predicted in self.confusion_KK.nonzero().tolist()
        ]

    def class_rows(self, class_names: tuple[str, ...]) -> list[tuple[str, int, float, float]]:
        """Return name, pictures, recall and F1 of each class that has pictures, the worst first."""
        f1_K = f1_per_class(self.confusion_KK)
        counts_K = self.confusion_KK.sum(dim=1)
        recall_K = self.confusion_KK.diagonal() / counts_K
        rows = [
            (name, int(counts_K[k]), float(recall_K[k]), float(f1_K[k]))
            for k, name in enumerate(class_names)
            if counts_K[k]
        ]
        return sorted(rows, key=lambda row: row[3])


@torch.inference_mode()
def evaluate_split(
    net: nn.Module, preprocessing: Preprocessing, loader: Iterable[Batch], split: str, num_classes: int
) -> SplitResult:
    """Run a network over a split in float32, every picture once.

    Ranks that share the split get the same result, that of one process.

    Args:
        net: ``(B, 3, S, S)`` to ``(B, K)``; on its device, which the batches follow.
        preprocessing: Turns the loader's uint8 pixels into network input.
        loader: Centre crops of the split, in order; or of every W-th picture, on each of W ranks.
        split: Its name, for the result and the progress bar.
        num_classes: K.

    Returns:
        Logits and metrics.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    metrics = ClassificationMetrics(num_classes).to(device)
    logits, labels = [], []
    for batch in tqdm(loader, desc=f"evaluate {split}", disable=None if is_main() else True, delay=1, leave=False):
        images = preprocessing.normalize(batch.images.to(device, non_blocking=True))
        labels_B = batch.labels.to(device, non_blocking=True)
        logits_BK = net(images).float()
        metrics.update(logits_BK, labels_B, nn.functional.cross_entropy(logits_BK, labels_B))
        logits.append(logits_BK)
        labels.append(labels_B)
    net.train(was_training)
    logits_NK, labels_N = in_turn(torch.cat(logits)), in_turn(torch.cat(labels))
    return SplitResult(split, logits_NK, labels_N, metrics.compute(), metrics.total_confusion())
