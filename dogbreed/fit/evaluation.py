"""Measure a network on a split, picture by picture.

Shape legend: B batch, N pictures, K classes, D features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dogbreed.allocator import keeping_freed_memory
from dogbreed.data.dataset import Batch
from dogbreed.data.index import ImageIndex
from dogbreed.data.preprocess import Preprocessing
from dogbreed.distributed import in_turn, is_main
from dogbreed.nets.calibration import expected_calibration_error
from dogbreed.nets.features import logits_and_features, logits_of_features
from dogbreed.nets.metrics import ClassificationMetrics, f1_per_class, precision_per_class, recall_per_class
from dogbreed.tables import format_table

NUM_WEAKEST_CLASSES = 5
TABLE_METRICS = ("acc_top1", "acc_top5", "f1_macro", "loss", "ece")


@dataclass(frozen=True)
class Mistake:
    """A picture that is taken for another class.

    Args:
        split: Where it belongs.
        file: Its path below the data set's root, as in ``predictions.csv``.
        source: What it is decoded from.
        label: True class.
        predicted: Most probable class.
        probability: Of the predicted class, calibrated, 0..1.
    """

    split: str
    file: str
    source: Path | bytes
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class SplitResult:
    """What a network says about every picture of a split.

    Args:
        split: ``train``, ``valid`` or ``test``.
        logits_NK: float32, on the CPU, in the split's order.
        labels_N: True classes, int64.
        features_ND: What goes into the network's last layer, each row of length 1, half precision.
        metrics: ``loss``, ``acc_top1``, ``acc_top5``, ``f1_macro``.
        confusion_KK: Counts; rows true classes, columns predicted ones.
    """

    split: str
    logits_NK: Tensor
    labels_N: Tensor
    features_ND: Tensor
    metrics: dict[str, float]
    confusion_KK: Tensor

    @property
    def prefix(self) -> str:
        """What the names of the split's metrics begin with: the valid split is ``val`` there."""
        return "val" if self.split == "valid" else self.split

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return ``(N, K)`` class probabilities."""
        return torch.softmax(self.logits_NK / temperature, dim=1)

    def named_metrics(self, temperature: float) -> dict[str, float]:
        """Return the metrics as ``val/acc_top1`` and so on.

        Args:
            temperature: As it was fitted on the valid split: ``ece``, the calibration
                error, is that of the divided logits, ``ece_uncalibrated`` that before.
        """
        errors = {
            "ece": expected_calibration_error(self.probabilities(temperature), self.labels_N),
            "ece_uncalibrated": expected_calibration_error(self.probabilities(), self.labels_N),
        }
        return {f"{self.prefix}/{name}": value for name, value in (self.metrics | errors).items()}

    def prediction_rows(self, index: ImageIndex, temperature: float) -> list[dict[str, Any]]:
        """Return a row a picture: split, file, label, predicted, calibrated probability."""
        best_N, predicted_N = self.probabilities(temperature).max(dim=1)
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

    def mistakes(self, index: ImageIndex, temperature: float, limit: int) -> list[Mistake]:
        """Return the pictures that are taken for another class, the most confident first."""
        best_N, predicted_N = self.probabilities(temperature).max(dim=1)
        wrong = (predicted_N != self.labels_N).nonzero().flatten()
        order = best_N[wrong].argsort(descending=True, stable=True)[:limit]
        images, names = index.split(self.split), index.class_names
        return [
            Mistake(
                self.split,
                images.paths[n],
                images.source(n),
                names[int(self.labels_N[n])],
                names[int(predicted_N[n])],
                float(best_N[n]),
            )
            for n in wrong[order].tolist()
        ]

    def best_example(self, index: ImageIndex) -> Path | bytes | None:
        """Return what the picture is decoded from that is recognised most surely, if any is recognised."""
        confidence_N, predicted_N = self.probabilities().max(dim=1)
        confidence_N[predicted_N != self.labels_N] = -1.0
        best = int(confidence_N.argmax())
        return index.split(self.split).source(best) if confidence_N[best] >= 0 else None

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

    def class_rows(self, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return split, class, pictures, precision, recall and f1 of each class; None for what is not defined."""
        counts = self.confusion_KK.sum(dim=1).tolist()
        columns = zip(
            precision_per_class(self.confusion_KK).tolist(),
            recall_per_class(self.confusion_KK).tolist(),
            f1_per_class(self.confusion_KK).tolist(),
            strict=True,
        )
        return [
            {"split": self.split, "class": name, "pictures": count}
            | {
                key: None if math.isnan(value) else round(value, 6)
                for key, value in zip(("precision", "recall", "f1"), values, strict=True)
            }
            for name, count, values in zip(class_names, counts, columns, strict=True)
        ]

    def weakest_classes(self, class_names: tuple[str, ...]) -> str:
        """Return a table of the few classes with pictures and the lowest F1, the worst first."""
        rows = [row for row in self.class_rows(class_names) if row["pictures"]]
        rows = sorted(rows, key=lambda row: row["f1"])[:NUM_WEAKEST_CLASSES]
        names = ("class", "pictures", "precision", "recall", "f1")
        columns = [f"weakest classes, {self.split}", *names[1:]]
        return format_table(columns, [[row[name] for name in names] for row in rows])


@keeping_freed_memory()
@torch.inference_mode()
def evaluate_split(
    net: nn.Module, preprocessing: Preprocessing, loader: Iterable[Batch], split: str, num_classes: int
) -> SplitResult:
    """Run a network over a split in float32, every picture once.

    Ranks that share the split get the same result, that of one process.

    Args:
        net: ``(B, 3, S, S)`` to ``(B, K)``; on its device, which the batches follow.
        preprocessing: Turns the loader's uint8 pixels into network input.
        loader: Centre crops of the split, or their features, in order; or of every W-th picture, on each of W ranks.
        split: Its name, for the result and the progress bar.
        num_classes: K.

    Returns:
        Logits, features and metrics.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    metrics = ClassificationMetrics(num_classes).to(device)
    logits, labels, features = [], [], []
    for batch in tqdm(loader, desc=f"evaluate {split}", disable=None if is_main() else True, delay=1, leave=False):
        images = batch.changed().images.to(device, non_blocking=True)
        labels_B = batch.labels.to(device, non_blocking=True)
        if images.dim() == 2:
            logits_BK, features_BD = logits_of_features(net, images), images
        else:
            logits_BK, features_BD = logits_and_features(net, preprocessing.normalize(images))
        logits_BK = logits_BK.float()
        metrics.update(logits_BK, labels_B, nn.functional.cross_entropy(logits_BK, labels_B))
        logits.append(logits_BK)
        labels.append(labels_B)
        features.append(nn.functional.normalize(features_BD.float(), dim=1).half())
    net.train(was_training)
    logits_NK, labels_N, features_ND = (in_turn(torch.cat(rows)) for rows in (logits, labels, features))
    return SplitResult(split, logits_NK, labels_N, features_ND, metrics.compute(), metrics.total_confusion())
