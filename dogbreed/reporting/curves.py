"""What learning curves mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dogbreed.errors import count
from dogbreed.reporting.run import Run
from dogbreed.reporting.sources import Integers, Numbers
from dogbreed.reporting.verdict import LEARNED_SHARE, learned_share
from dogbreed.reporting.words import number, percent

GROWN = 1.1
OVERFIT, OVERFIT_EPOCHS = 1.05, 2
IMPROVES = 0.02
FELL_LITTLE = 0.05


@dataclass(frozen=True)
class CurveVerdict:
    """What the curves mean.

    Args:
        kind: ``diverging``, ``not learning``, ``overfitting``, ``unsteady``, ``still improving``, ``converging`` or
            ``too short``.
        sentence: The same with numbers, and what to do.
        tone: ``good``, ``bad`` or ``busy``.
    """

    kind: str
    sentence: str
    tone: str


def judge_run(run: Run) -> CurveVerdict | None:
    """Say what the curves of a run mean, by its epochs, or by its steps where those say more; None for no curves."""
    verdict = None
    if run.epochs and len(run.epochs):
        train_loss, val_loss, val_accuracy = map(run.epochs.numbers, ("train/loss", "val/loss", "val/acc_top1"))
        verdict = judge_curves(train_loss, val_loss, val_accuracy, run.num_classes)
    if run.steps:
        by_steps = judge_steps(run.steps.numbers("loss"))
        if verdict is None or (verdict.kind == "too short" and by_steps.kind == "diverging"):
            verdict = by_steps
    return verdict


def judge_curves(
    train_loss: Numbers, val_loss: Numbers, val_accuracy: Numbers, num_classes: int | None = None
) -> CurveVerdict:
    """Say what the losses of epochs mean.

    It is the first of these that holds:

    - *diverging*: the last training loss is no finite number, or more than 10 % above the first;
    - *not learning*: the best validation accuracy is within 5 % of the way from guessing to perfection, and the
      training loss has fallen by less than 5 % or is no better than that of guessing, ``ln K``;
    - *too short*: fewer than two epochs have been validated;
    - *overfitting*: the validation loss ends 5 % or more above its lowest, which is two epochs ago or more, and the
      training loss has fallen since;
    - *unsteady*: it ends as far above its lowest, but that was only now, or the training loss rises, too;
    - *still improving*: within the last quarter of the epochs, one at least, the lowest validation loss has fallen by
      more than 2 %;
    - *converging* otherwise.

    Args:
        train_loss: A value an epoch.
        val_loss: A value an epoch; NaN where validation was left out.
        val_accuracy: The same, 0..1.
        num_classes: Number of classes K; None if it is not known, and then nothing is compared with guessing.
    """
    trained = train_loss[~np.isnan(train_loss)] if len(train_loss) else train_loss
    if len(train_loss) and (not math.isfinite(train_loss[-1]) or train_loss[-1] > GROWN * trained[0]):
        first = number(float(trained[0])) if len(trained) else "its beginning"
        words = f"the training loss went from {first} to {number(float(train_loss[-1]))}"
        return CurveVerdict("diverging", f"Diverging: {words}. Lower optim.lr, or warm up for longer.", "bad")
    stuck = _stuck(trained, val_accuracy, num_classes)
    if stuck:
        return CurveVerdict("not learning", stuck, "bad")
    epochs = np.flatnonzero(~np.isnan(val_loss))
    if len(epochs) < 2:
        words = "Too short to say: it takes two epochs with validation to see where the curves go."
        return CurveVerdict("too short", words, "busy")
    return _rising(train_loss, val_loss, epochs) or _end(val_loss[epochs])


def judge_steps(losses: Numbers) -> CurveVerdict:
    """Say what losses mean before epochs can tell: *diverging*, by thirds of the steps, or *too short*.

    Args:
        losses: A value a step.
    """
    thirds = [part[~np.isnan(part)] for part in np.array_split(losses, 3)] if len(losses) >= 3 else []
    means = [float(part.mean()) if len(part) else math.nan for part in thirds]
    if means and means[-1] > GROWN * means[0]:
        words = f"within {count(len(losses), 'step')} the loss went from {number(losses[0])} to {number(losses[-1])}"
        return CurveVerdict("diverging", f"Diverging: {words}. Lower optim.lr, or warm up for longer.", "bad")
    return CurveVerdict("too short", "Too short to say: no epoch has finished yet.", "busy")


def _stuck(trained: Numbers, val_accuracy: Numbers, num_classes: int | None) -> str:
    accuracy = val_accuracy[~np.isnan(val_accuracy)] if len(val_accuracy) else val_accuracy
    if not num_classes or not len(accuracy) or learned_share(float(accuracy.max()), num_classes) >= LEARNED_SHARE:
        return ""
    fell = 1 - trained[-1] / trained[0] if len(trained) > 1 and trained[0] > 0 else 0.0
    is_no_better = bool(len(trained)) and trained[-1] >= math.log(num_classes)
    if fell >= FELL_LITTLE and not is_no_better:
        return ""
    best = percent(float(accuracy.max()))
    return (
        f"Not learning: the best validation accuracy is {best}, guessing gives {percent(1 / num_classes)}. Look at the "
        "findings above; most often optim.lr is far too high or too low, or labels are wrong."
    )


def _rising(train_loss: Numbers, val_loss: Numbers, epochs: Integers) -> CurveVerdict | None:
    values = val_loss[epochs]
    lowest = int(np.argmin(values))
    best, last = int(epochs[lowest]), int(epochs[-1])
    rose = values[-1] >= OVERFIT * values[lowest] and values[-1] > 0
    if not rose:
        return None
    if last - best < OVERFIT_EPOCHS or not train_loss[last] < train_loss[best]:
        sentence = (
            f"Unsteady: the validation loss was {number(values[lowest])} in epoch {best + 1} and is "
            f"{number(values[-1])} now. A few epochs more show whether that is noise or overfitting; a lower optim.lr "
            "makes for less noise."
        )
        return CurveVerdict("unsteady", sentence, "busy")
    sentence = (
        f"Overfitting: the validation loss was lowest in epoch {best + 1} ({number(values[lowest])}) and has risen to "
        f"{number(values[-1])}, while the training loss fell on. The weights that are kept are those of the best "
        "epoch; more pictures or stronger augment= and a higher optim.weight_decay push that point back."
    )
    return CurveVerdict("overfitting", sentence, "bad")


def _end(values: Numbers) -> CurveVerdict:
    late = max(1, len(values) // 4)
    before, lowest = float(values[:-late].min()), float(values.min())
    gain = (before - lowest) / before if before > 0 else 0.0
    span = "the last epoch" if late == 1 else f"the last {late} epochs"
    if gain > IMPROVES:
        sentence = (
            f"Still improving: {span} brought the validation loss from {number(before)} to {number(lowest)}, "
            f"{percent(gain, 0)} less. More epochs are likely to help (trainer.max_epochs)."
        )
        return CurveVerdict("still improving", sentence, "good")
    sentence = (
        f"Converging: {span} changed the lowest validation loss by less than {percent(IMPROVES, 0)} "
        f"({number(lowest)}). More epochs of the same are unlikely to help."
    )
    return CurveVerdict("converging", sentence, "good")
