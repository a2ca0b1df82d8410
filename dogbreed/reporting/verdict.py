"""What a run has come to, in a headline; and what is wrong with it, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dogbreed.reporting.run import RuleResult, Run
from dogbreed.reporting.words import odds, percent

# What breaks a model, what makes it worse than it could be, what only costs time; each with the worst first.
BREAKS = (
    *("exploding_tensor", "loss_not_decreasing", "unchanged_tensor", "vanishing_gradient", "weight_update_ratio"),
    *("check_input_images", "all_zero", "dead_relu", "saturated_activation", "tensor_variance"),
    "poor_weight_initialization",
)
WEAKENS = ("overfit", "confusion", "class_imbalance", "overtraining")
SLOWS = (
    *("stalled_training", "similar_across_runs"),
    *("gpu_memory_increase", "dataloader", "cpu_bottleneck", "io_bottleneck", "low_gpu_utilization"),
    *("load_balancing", "batch_size", "step_outlier", "max_initialization_time"),
)
NUM_WORST = 3
# Accuracy between guessing (0) and perfection (1) below which nothing has been learned.
LEARNED_SHARE = 0.05


@dataclass(frozen=True)
class Headline:
    """The first thing to see.

    Args:
        title: A few words.
        words: One or two sentences.
        tone: ``good``, ``bad`` or ``busy``, which decides the colour.
        state: The run's state, in a word.
    """

    title: str
    words: str
    tone: str
    state: str

    @property
    def state_tone(self) -> str:
        """The tone of the state alone: a run can end well and have learned nothing."""
        return {"completed": "good", "failed": "bad", "died": "bad"}.get(self.state, "busy")


@dataclass(frozen=True)
class WorstFinding:
    """An issue and what kind of harm it does: ``breaks training``, ``costs accuracy``, ``costs time``."""

    rule: RuleResult
    harm: str


def headline(run: Run) -> Headline:
    """Put a run's outcome in words."""
    where = _epoch_words(run)
    error = str(run.record.get("error") or "").strip()
    if run.state == "failed":
        return Headline(f"Failed{where}", error or "The run has left no reason.", "bad", "failed")
    if run.state == "pruned":
        reason = str(run.record.get("reason") or "").strip()
        return Headline(f"Pruned{where}", reason or "The search has ended this trial early.", "busy", "pruned")
    if run.state == "interrupted":
        words = "The same command goes on from the last checkpoint."
        return Headline(f"Interrupted{where}", words, "busy", "interrupted")
    if run.state == "died":
        words = (
            "The run says that it is going on, but nobody holds its lock: the process was killed, or the machine went "
            "down. The same command goes on from the last checkpoint, if there is one."
        )
        return Headline(f"Died{where}", words, "bad", "died")
    if run.state == "running":
        return Headline(f"Still running{where.replace(' in', ':', 1)}", _progress(run), "busy", "running")
    return _outcome(run)


def worst_findings(rules: Sequence[RuleResult], limit: int = NUM_WORST) -> list[WorstFinding]:
    """Choose the findings to read first: what breaks a model before what slows it.

    Rules that are not known here, one's own, stand between the two. Among equals the one that was seen more often
    comes first.

    Args:
        rules: As in ``diagnosis.json``.
        limit: How many at most.
    """
    order = {name: place for place, name in enumerate((*BREAKS, *WEAKENS, "", *SLOWS))}
    issues = [rule for rule in rules if rule.is_issue]
    issues.sort(key=lambda rule: (order.get(rule.name, order[""]), -rule.count))
    return [WorstFinding(rule, _harm(rule.name)) for rule in issues[:limit]]


def learned_share(accuracy: float, num_classes: int | None) -> float:
    """Return where an accuracy lies between guessing (0) and perfection (1); itself where nothing is known of guessing.

    Example:
        >>> learned_share(0.5, 2), learned_share(0.75, 2), learned_share(0.75, None)
        (0.0, 0.5, 0.75)
    """
    if not num_classes or num_classes < 2:
        return accuracy
    return (accuracy - 1 / num_classes) / (1 - 1 / num_classes)


def _harm(name: str) -> str:
    if name in BREAKS:
        return "breaks training"
    if name in WEAKENS:
        return "costs accuracy"
    return "costs time" if name in SLOWS else "your own rule"


def _epoch_words(run: Run) -> str:
    if not (run.epochs or run.steps):
        return ""
    total = f" of {run.max_epochs}" if run.max_epochs else ""
    current = run.num_epochs + 1
    if run.max_epochs and current > run.max_epochs:
        return f" after epoch {run.num_epochs}{total}"
    return f" in epoch {current}{total}"


def _progress(run: Run) -> str:
    if not run.num_epochs:
        return "No epoch has finished yet. Write the report again later to see more."
    assert run.epochs is not None
    accuracy = run.epochs.numbers("val/acc_top1")
    measured = accuracy[accuracy == accuracy]
    best = f" Best validation accuracy so far: {percent(float(measured.max()))}." if len(measured) else ""
    return f"This is what there is so far.{best} Write the report again later to see more."


def _outcome(run: Run) -> Headline:
    split, name = ("test", "test") if "test/acc_top1" in run.metrics else ("val", "validation")
    accuracy = run.metrics.get(f"{split}/acc_top1")
    if accuracy is None:
        if run.state == "completed":
            return Headline("Completed", "It has left no final numbers.", "busy", "completed")
        words = "There is no run.json that can be read, which would say what became of the run."
        return Headline("State unknown", words, "busy", "unknown")
    classes = run.num_classes
    guess = f" Guessing would be right 1 time in {classes}." if classes and classes > 1 else ""
    words = f"On {name} pictures it is {odds(accuracy)}.{guess}"
    if learned_share(accuracy, classes) < LEARNED_SHARE:
        return Headline("No better than guessing", f"{percent(accuracy)} of the {name} pictures are right. {words}",
                        "bad", run.state)  # fmt: skip
    return Headline(f"{percent(accuracy)} of {name} pictures right", words, "good", run.state)
