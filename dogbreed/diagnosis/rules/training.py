"""Rules about losses, classes and what goes in.

Sources of names, parameters and defaults: "List of Debugger built-in rules" in AWS's documentation of SageMaker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dogbreed.diagnosis.observations import EpochEnd, InputStats, Observation, StepLoss
from dogbreed.diagnosis.rule import Finding, Rule

ANY = (0.0, float("inf"))
COUNT = (1, float("inf"))
# A class is judged from so many pictures on.
MIN_PICTURES = 5
# Rise of the mean share of a class that is recognised, from one epoch to the next.
STILL_LEARNING = 0.05


@dataclass
class LossNotDecreasing(Rule):
    """Fires when the training loss does not fall.

    AWS's rule compares single steps; losses of batches jump about more than they fall, so here windows are compared.

    Args:
        num_steps: Steps in a window; each is compared with the one before.
        diff_percent: Percent that a mean must fall below the best one so far.
        patience: Windows in a row without it.
        floor: A loss below this has nowhere to fall.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Raise or lower optim.lr by ten; look at the labels in mistakes.png; what is frozen cannot learn "
        "(finetune.mode)."
    )
    num_steps: int = 50
    diff_percent: float = 0.5
    patience: int = 4
    floor: float = 0.05
    _window: list[float] = field(default_factory=list, init=False)
    _best: float = field(default=math.inf, init=False)
    _windows_without: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._require(num_steps=COUNT, diff_percent=(0.0, 100.0), patience=COUNT, floor=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at the loss of each step."""
        if not isinstance(seen, StepLoss):
            return None
        self._window.append(seen.loss)
        if len(self._window) < self.num_steps:
            return None
        mean, self._window = float(np.mean(self._window)), []
        if mean < self._best * (1 - self.diff_percent / 100) or mean < self.floor:
            self._best, self._windows_without = min(mean, self._best), 0
            return None
        self._windows_without += 1
        if self._windows_without < self.patience:
            return None
        count = self.num_steps * self.patience
        evidence = f"the mean training loss of {count} steps has not fallen below {self._best:.3g}: now {mean:.3g}"
        return Finding(seen.step, evidence, {"best": self._best, "now": mean})


@dataclass
class Overfit(Rule):
    """Fires when the validation loss lies far above the training loss, and does not fall any more.

    AWS's rule looks at the ratio alone, which augmentation and dropout turn upside down.

    Args:
        ratio_threshold: By which part of the training loss the validation loss may be larger.
        patience: Epochs in a row.
        start_step: Steps that are let pass.
    """

    advice: ClassVar[str] = (
        "Vary pictures more (augment=strong), train less (finetune=head, fewer epochs, early_stopping=default), "
        "or raise optim.weight_decay."
    )
    ratio_threshold: float = 0.5
    patience: int = 2
    start_step: int = 0
    _best: float = field(default=math.inf, init=False)
    _epochs: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._require(ratio_threshold=ANY, patience=COUNT, start_step=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at both losses of each epoch."""
        if not isinstance(seen, EpochEnd) or seen.step < self.start_step or "val/loss" not in seen.metrics:
            return None
        train, valid = seen.metrics.get("train/loss", math.nan), seen.metrics["val/loss"]
        is_best = valid < self._best
        self._best = min(self._best, valid)
        self._epochs = self._epochs + 1 if not is_best and valid > (1 + self.ratio_threshold) * train else 0
        if self._epochs < self.patience:
            return None
        evidence = f"validation loss {valid:.3g} beside training loss {train:.3g}, and {self._best:.3g} at its best"
        return Finding(seen.step, evidence, {"train": train, "valid": valid, "best": self._best})


@dataclass
class Overtraining(Rule):
    """Fires when neither loss improves any more: the rest of the run is wasted.

    Args:
        patience_train: Epochs without a better training loss.
        patience_validation: Epochs without a better validation loss.
        delta: The least that is an improvement.
    """

    advice: ClassVar[str] = "Stop here: early_stopping=default, or fewer trainer.max_epochs."
    patience_train: int = 5
    patience_validation: int = 10
    delta: float = 0.01
    _best: dict[str, float] = field(default_factory=dict, init=False)
    _without: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(patience_train=COUNT, patience_validation=COUNT, delta=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at the losses of each epoch."""
        if not isinstance(seen, EpochEnd):
            return None
        for name in ("train/loss", "val/loss"):
            loss = seen.metrics.get(name)
            if loss is None:
                continue
            if loss < self._best.get(name, math.inf) - self.delta:
                self._best[name], self._without[name] = loss, 0
            else:
                self._without[name] = self._without.get(name, 0) + 1
        train, valid = (self._without.get(name, 0) for name in ("train/loss", "val/loss"))
        if train < self.patience_train or valid < self.patience_validation:
            return None
        evidence = f"no better training loss for {train} epochs, no better validation loss for {valid}"
        return Finding(seen.step, evidence, {"train": train, "valid": valid})


@dataclass
class ClassImbalance(Rule):
    """Fires when some classes have far more pictures than others, and the rare ones are not recognised.

    Args:
        threshold_imbalance: Ratio of the pictures of the largest and the smallest class.
        threshold_misprediction: Share of a rare class's validation pictures that are taken for others, 0..1.
    """

    advice: ClassVar[str] = (
        "Weigh or draw classes evenly (loss.class_weights=balanced or data.sampling=balanced), and choose by "
        "objective=val/f1_macro."
    )
    threshold_imbalance: float = 10.0
    threshold_misprediction: float = 0.7

    def __post_init__(self) -> None:
        self._require(threshold_imbalance=(1.0, float("inf")), threshold_misprediction=(0.0, 1.0))

    def look(self, seen: Observation) -> Finding | None:
        """Look at the classes of each epoch."""
        if not isinstance(seen, EpochEnd) or seen.confusion_KK is None or not seen.class_counts:
            return None
        counts_K = np.asarray(seen.class_counts)
        is_rare = counts_K * self.threshold_imbalance <= counts_K.max()
        totals_K = seen.confusion_KK.sum(axis=1)
        missed_K = 1 - seen.confusion_KK.diagonal() / np.maximum(totals_K, 1)
        missed = np.flatnonzero(is_rare & (totals_K > 0) & (missed_K >= self.threshold_misprediction))
        if not len(missed):
            return None
        worst = int(missed[missed_K[missed].argmax()])
        evidence = (
            f"{seen.class_names[worst]} has {counts_K[worst]} training pictures, the largest class {counts_K.max()}; "
            f"{100 * missed_K[worst]:.0f} % of it are taken for other classes"
        )
        names = [seen.class_names[k] for k in missed]
        return Finding(seen.step, evidence, {"classes": names})


@dataclass
class Confusion(Rule):
    """Fires when a class is mostly taken for one other.

    AWS's rule wants 90 % of each class on the diagonal and at most 10 % elsewhere, which few healthy models reach.
    An epoch that has brought more than `STILL_LEARNING` is let pass: what is confused there soon may not be.

    Args:
        min_diag: Share of a class that should be recognised, 0..1.
        max_off_diag: Share of a class that may be taken for one other class, 0..1.
        start_epoch: Epochs that are let pass.
        patience: Epochs in a row; in between, healthy networks take a class for another now and then.
    """

    advice: ClassVar[str] = (
        "Look at these two classes in confusion.png and mistakes.png: labels may be mixed up, or the classes be one."
    )
    min_diag: float = 0.4
    max_off_diag: float = 0.5
    start_epoch: int = 1
    patience: int = 2
    _confused_for: dict[str, int] = field(default_factory=dict, init=False)
    _right_before: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        self._require(min_diag=(0.0, 1.0), max_off_diag=(0.0, 1.0), start_epoch=ANY, patience=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at the confusion matrix of each epoch."""
        if not isinstance(seen, EpochEnd) or seen.confusion_KK is None:
            return None
        totals_K = seen.confusion_KK.sum(axis=1)
        shares_KK = seen.confusion_KK / np.maximum(totals_K, 1)[:, None]
        right_K = shares_KK.diagonal().copy()
        right_before, self._right_before = self._right_before, float(right_K.mean())
        before, self._confused_for = self._confused_for, {}
        if seen.epoch <= self.start_epoch or self._right_before > right_before + STILL_LEARNING:
            return None
        np.fill_diagonal(shares_KK, 0)
        worst_K = shares_KK.max(axis=1)
        is_wrong_K = (totals_K >= MIN_PICTURES) & (right_K < self.min_diag) & (worst_K > self.max_off_diag)
        for k in np.flatnonzero(is_wrong_K):
            name = seen.class_names[k]
            self._confused_for[name] = before.get(name, 0) + 1
            is_wrong_K[k] = self._confused_for[name] >= self.patience
        wrong = np.flatnonzero(is_wrong_K)
        if not len(wrong):
            return None
        worst = int(wrong[worst_K[wrong].argmax()])
        other = int(shares_KK[worst].argmax())
        evidence = (
            f"{100 * worst_K[worst]:.0f} % of {seen.class_names[worst]} are taken for {seen.class_names[other]}, "
            f"{100 * right_K[worst]:.0f} % are recognised"
        )
        return Finding(seen.step, evidence, {"label": seen.class_names[worst], "predicted": seen.class_names[other]})


@dataclass
class CheckInputImages(Rule):
    """Fires when the network is fed with pixels that were not normalised.

    Args:
        threshold_mean: Largest distance of a channel's mean from 0; AWS's 0.2 is less than what single classes have.
        threshold_std: Lowest and highest deviation of a channel.
        threshold_samples: Pictures that are looked at.
    """

    advice: ClassVar[str] = (
        "Pictures must reach the network as its weights expect: preprocessing.normalize of uint8 pixels, once."
    )
    threshold_mean: float = 2.0
    threshold_std: tuple[float, float] = (0.1, 4.0)
    threshold_samples: int = 64
    _sums: dict[str, list[float]] = field(default_factory=dict, init=False)
    _num_images: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._require(threshold_mean=ANY, threshold_samples=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at what goes in, until enough pictures were seen."""
        if not isinstance(seen, InputStats) or self._num_images >= self.threshold_samples:
            return None
        for name, values in (("mean", seen.mean), ("std", seen.std)):
            before = np.asarray(self._sums.get(name, 0.0))
            self._sums[name] = (before + seen.num_images * np.asarray(values)).tolist()
        self._num_images += seen.num_images
        if self._num_images < self.threshold_samples:
            return None
        mean, std = (np.asarray(self._sums[name]) / self._num_images for name in ("mean", "std"))
        low, high = self.threshold_std
        if abs(mean).max() <= self.threshold_mean and low <= std.min() and std.max() <= high:
            return None
        shown = ", ".join(f"{value:.3g} ± {deviation:.3g}" for value, deviation in zip(mean, std, strict=True))
        evidence = f"the channels of {self._num_images} pictures are {shown} instead of about 0 ± 1"
        return Finding(seen.step, evidence, {"mean": mean.tolist(), "std": std.tolist()})
