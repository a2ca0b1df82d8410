"""Whether a run is lost: it is sick, and it has learned nothing."""

from __future__ import annotations

import math

from dogbreed.diagnosis.observations import EpochEnd
from dogbreed.diagnosis.panel import RulePanel
from dogbreed.early_end import EarlyEnd
from dogbreed.reporting.verdict import LEARNED_SHARE

# In fewer steps nobody has learned.
MIN_STEPS = 20
# A training loss that is so far below that of guessing, ln K, is learning.
BELOW_GUESSING = 0.98


def has_learned(epoch: EpochEnd) -> bool | None:
    """Say whether a network has learned anything by the end of an epoch.

    It has when its validation accuracy lies `LEARNED_SHARE` of the way from the share of the largest class, which a
    constant answer gets, to 1; or when the training loss is below `BELOW_GUESSING` of that of guessing: training from
    scratch begins slowly.

    Args:
        epoch: Its numbers.

    Returns:
        None where that cannot be told: the epoch was not validated, there is one class only, or it was too few steps.
    """
    if epoch.confusion_KK is None or not epoch.confusion_KK.sum() or epoch.step < MIN_STEPS:
        return None
    counts_K = epoch.confusion_KK.sum(1)
    constant = float(counts_K.max() / counts_K.sum())
    if constant == 1:
        return None
    accuracy = float(epoch.confusion_KK.trace() / counts_K.sum())
    guessing = math.log(len(counts_K))
    is_falling = epoch.metrics.get("train/loss", math.nan) < BELOW_GUESSING * guessing
    return is_falling or (accuracy - constant) / (1 - constant) >= LEARNED_SHARE


def why_lost(panel: RulePanel, epoch: EpochEnd) -> EarlyEnd | None:
    """Return the rule that explains why a network has learned nothing, if one does.

    Only rules count whose finding can mean that nothing is learned (`Rule.means_lost`). A network that learns all the
    same is left in peace, and so is one that nobody finds sick: it may begin slowly.

    Args:
        panel: The rules and what they have found.
        epoch: At whose end nothing was learned.
    """
    for row in panel.table():
        if row["verdict"] == "issue" and panel.rules[row["name"]].means_lost:
            accuracy = epoch.metrics.get("val/acc_top1", math.nan)
            reason = (
                f"{row['name']}: {row['evidence']}; after epoch {epoch.epoch} it has learned nothing "
                f"(val/acc_top1 {accuracy:.3g})."
            )
            return EarlyEnd(reason, row["name"])
    return None
