"""How well classes are told apart, and whether probabilities can be believed.

Shape legend: K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dogbreed.reporting.sources import Integers, Numbers, Table

# As metrics.json counts them.
NUM_BINS = 15


@dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which.

    Args:
        names: Classes, sorted.
        counts_KK: Pictures; rows true classes, columns predicted ones.
    """

    names: tuple[str, ...]
    counts_KK: Integers

    @property
    def share_KK(self) -> Numbers:
        """Parts of the true class's pictures, 0..1."""
        share: Numbers = self.counts_KK / np.maximum(self.counts_KK.sum(axis=1, keepdims=True), 1)
        return share

    def worst_pairs(self, limit: int) -> list[tuple[str, str, int, float]]:
        """Return true class, predicted class, count and share of the pairs that are confused most."""
        wrong = np.where(np.eye(len(self.names), dtype=bool), 0, self.counts_KK)
        order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
        cells = [divmod(int(flat), len(self.names)) for flat in order]
        share = self.share_KK
        return [
            (self.names[true], self.names[predicted], int(wrong[true, predicted]), float(share[true, predicted]))
            for true, predicted in cells
            if wrong[true, predicted]
        ]


@dataclass(frozen=True)
class ClassScore:
    """How well a class is recognised.

    Args:
        name: The class.
        num_pictures: Pictures of it that were measured.
        precision: Share of what was taken for it that is it, 0..1; NaN where nothing was.
        recall: Share of its pictures that were recognised, 0..1; NaN without pictures.
        f1: Harmonic mean of both, 0..1.
    """

    name: str
    num_pictures: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy.

    Args:
        confidence: Mean probability of each bin that has pictures, 0..1.
        accuracy: Share of its pictures that are right, 0..1.
        num_pictures: Pictures in each bin.
        error: Expected calibration error, 0..1.
    """

    confidence: Numbers
    accuracy: Numbers
    num_pictures: Integers
    error: float

    @property
    def rows(self) -> list[tuple[float, float, int]]:
        """Mean probability, share that is right and number of pictures of each bin."""
        return list(zip(self.confidence.tolist(), self.accuracy.tolist(), self.num_pictures.tolist(), strict=True))

    @property
    def sentence(self) -> str:
        """What that means."""
        total = max(int(self.num_pictures.sum()), 1)
        gap = float((self.num_pictures * (self.confidence - self.accuracy)).sum() / total)
        begin = f"Expected calibration error {100 * self.error:.1f} %"
        if self.error < 0.03:
            return f"{begin}: when it says 90 %, it is right about 9 times in 10."
        if abs(gap) < 0.5 * self.error:
            return f"{begin}: too sure in places, not sure enough in others; few pictures alone make for some of it."
        return (
            f"{begin}: on the whole it is {'surer than it should be' if gap > 0 else 'right more often than it says'}."
        )


def confusion_of(cells: Table | None, split: str) -> Confusion | None:
    """Build the matrix of a split from ``confusion.csv``; None where there are no counts."""
    if cells is None or not len(cells := cells.where("split", split)):
        return None
    labels, predicted = cells.texts("label"), cells.texts("predicted")
    names = sorted({*labels, *predicted})
    index = {name: place for place, name in enumerate(names)}
    counts_KK = np.zeros((len(names), len(names)), dtype=np.int64)
    for label, answer, amount in zip(labels, predicted, cells.numbers("count"), strict=True):
        counts_KK[index[label], index[answer]] += int(np.clip(np.nan_to_num(amount), 0, 2**40))
    return Confusion(tuple(names), counts_KK)


def class_scores(classes: Table | None, split: str) -> list[ClassScore]:
    """Return the classes of a split, the best first by F1; those without pictures are left out."""
    if classes is None:
        return []
    own = classes.where("split", split)
    numbers = [
        np.clip(np.nan_to_num(own.numbers("pictures")), 0, 2**40),
        *map(own.numbers, ("precision", "recall", "f1")),
    ]
    scores = [
        ClassScore(name, int(pictures), float(precision), float(recall), float(f1))
        for name, pictures, precision, recall, f1 in zip(own.texts("class"), *numbers, strict=True)
        if pictures > 0
    ]
    return sorted(scores, key=lambda score: (-np.nan_to_num(score.f1), score.name))


def calibration_of(predictions: Table | None, split: str) -> Calibration | None:
    """Compare probabilities with how often they are right, in 15 bins of equal width; None without predictions."""
    if predictions is None:
        return None
    own = predictions.where("split", split)
    sure_N = own.numbers("probability")
    right_N = np.array(
        [label == answer for label, answer in zip(own.texts("label"), own.texts("predicted"), strict=True)]
    )
    is_there = (sure_N >= 0) & (sure_N <= 1)
    if not is_there.any():
        return None
    sure_N, right_N = sure_N[is_there], right_N[is_there].astype(np.float64)
    bins_N = np.ceil(sure_N * NUM_BINS).astype(np.int64)
    counts = np.bincount(bins_N, minlength=NUM_BINS + 1)
    used = counts > 0
    confidence = np.bincount(bins_N, sure_N, NUM_BINS + 1)[used] / counts[used]
    accuracy = np.bincount(bins_N, right_N, NUM_BINS + 1)[used] / counts[used]
    error = float((counts[used] * np.abs(confidence - accuracy)).sum() / len(sure_N))
    return Calibration(confidence, accuracy, counts[used], error)
