"""The parts of a run's page as plain values: what the templates lay out."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dogbreed.errors import count
from dogbreed.reporting import drawing
from dogbreed.reporting.curves import CurveVerdict, judge_run
from dogbreed.reporting.drawing import Figure
from dogbreed.reporting.quality import (
    Calibration,
    ClassScore,
    Confusion,
    calibration_of,
    class_scores,
    confusion_of,
)
from dogbreed.reporting.run import Run
from dogbreed.reporting.sources import Table
from dogbreed.reporting.steps import StepTimes, phase_seconds, phase_sentence, shares, step_times
from dogbreed.reporting.usage import loader_advice, usage_of
from dogbreed.reporting.words import duration, number, percent

MAX_CLASSES_WITH_NUMBERS = 20
NUM_PAIRS, NUM_CLASSES, NUM_OPERATORS = 10, 6, 10
# Larger matrices are drawn coarser: no screen has a pixel for each of their cells.
MAX_HEAT_MAP_SIDE = 1024


@dataclass(frozen=True)
class Tile:
    """A number to see at a glance: what it is, and a word beside it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class CurvesPart:
    """Learning curves and what they mean."""

    verdict: CurveVerdict | None
    figures: list[Figure]


@dataclass(frozen=True)
class StepsPart:
    """What steps took, and by which phases."""

    times: StepTimes | None = None
    figures: list[Figure] = field(default_factory=list)
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    phase_figure: Figure | None = None
    sentence: str = ""

    @property
    def num_outliers(self) -> int:
        """Steps that took more than three standard deviations above the mean."""
        return int(self.times.is_outlier.sum()) if self.times else 0


@dataclass(frozen=True)
class Operator:
    """What an operator took on one device in the profiled steps: milliseconds, and its share of all, 0..1."""

    name: str
    calls: int
    ms: float
    share: float


@dataclass(frozen=True)
class QualityPart:
    """What is confused with what, on one split."""

    split: str
    confusion: Confusion | None
    heat_map: str
    pairs: list[tuple[str, str, int, float]]
    best: list[ClassScore]
    worst: list[ClassScore]
    num_classes: int
    calibration: Calibration | None
    calibration_figure: Figure | None

    @property
    def has_numbers(self) -> bool:
        """Whether there are few enough classes to write counts into cells."""
        return self.confusion is not None and len(self.confusion.names) <= MAX_CLASSES_WITH_NUMBERS


def tiles_of(run: Run) -> list[Tile]:
    """Choose the numbers that matter most, as far as there are any."""
    metrics, tiles = run.metrics, []
    for split, name in (("test", "test"), ("val", "validation")):
        if f"{split}/acc_top1" in metrics:
            tiles.append(Tile(f"{name} top-1", percent(metrics[f"{split}/acc_top1"]),
                              f"top-5 {percent(metrics.get(f'{split}/acc_top5'))}"))  # fmt: skip
    split = "test" if "test/f1_macro" in metrics else "val"
    if f"{split}/f1_macro" in metrics:
        tiles.append(Tile("macro F1", percent(metrics[f"{split}/f1_macro"]), "mean over the classes"))
    if f"{split}/ece" in metrics:
        before = metrics.get(f"{split}/ece_uncalibrated")
        tiles.append(Tile("calibration error", percent(metrics[f"{split}/ece"]),
                          f"{percent(before)} before temperature" if before is not None else ""))  # fmt: skip
    if not metrics and run.epochs and len(run.epochs):
        best = run.epochs.numbers("val/acc_top1")
        if np.isfinite(best).any():
            place = int(np.nanargmax(best))
            tiles.append(Tile("best validation top-1", percent(float(best[place])), f"epoch {place + 1}"))
    if run.epochs and len(run.epochs):
        of = f"of {run.max_epochs}" if run.max_epochs else ""
        tiles.append(Tile("epochs", str(len(run.epochs)), of))
    elif run.steps and len(run.steps):
        tiles.append(Tile("steps", f"{len(run.steps):,}", "no epoch has finished"))
    if run.seconds is not None:
        tiles.append(Tile("time", duration(run.seconds), _speed(metrics)))
    return tiles


def _speed(metrics: Mapping[str, float]) -> str:
    return f"{number(metrics['images_per_second'])} images/s" if "images_per_second" in metrics else ""


def curves_part(run: Run) -> CurvesPart:
    """Draw the learning curves and judge them."""
    figures: list[Figure | None] = []
    if run.epochs and len(run.epochs):
        figures.append(drawing.draw_epochs(run.epochs, "loss", "Loss"))
        figures.append(drawing.draw_epochs(run.epochs, "acc_top1", "Accuracy (top-1)", is_share=True))
        figures.append(drawing.draw_rates(run.epochs))
    if run.steps:
        figures.append(drawing.draw_step_losses(run.steps))
    return CurvesPart(judge_run(run), [figure for figure in figures if figure])


def steps_part(run: Run) -> StepsPart:
    """Measure and draw steps and their phases."""
    times = step_times(run.steps) if run.steps else None
    if times is None or run.steps is None:
        return StepsPart()
    phases = phase_seconds(run.steps)
    share = shares(phases)
    rows = [(phase, float(seconds.sum()), share[phase]) for phase, seconds in phases.items()]
    figure = drawing.draw_phases(run.steps.numbers("step"), phases) if any(share.values()) else None
    return StepsPart(
        times=times,
        figures=[drawing.draw_histogram(times), drawing.draw_times(times)],
        phases=rows if figure else [],
        phase_figure=figure,
        sentence=phase_sentence(share),
    )


def operators_of(operators: Table | None, device: str) -> list[Operator]:
    """Return the operators that took most on the ``cpu`` or the ``gpu``, themselves, without what they called."""
    if operators is None:
        return []
    taken, calls = (np.clip(np.nan_to_num(operators.numbers(name)), 0, 1e15) for name in (f"{device}_ms", "calls"))
    total = float(taken.sum())
    names = operators.texts("name")
    largest = [int(place) for place in np.argsort(-taken, kind="stable")[:NUM_OPERATORS] if taken[place] > 0]
    return [Operator(names[at], int(calls[at]), float(taken[at]), float(taken[at]) / total) for at in largest]


def usage_figures(run: Run) -> list[Figure]:
    """Draw what the machine did."""
    usage = usage_of(run.system)
    if usage is None:
        return []
    figures = [
        drawing.draw_cores(usage),
        drawing.draw_memory(usage),
        drawing.draw_gpus(usage, usage.gpus, "GPUs busy"),
        drawing.draw_gpus(usage, usage.gpu_memory, "Memory of the GPUs taken"),
    ]
    return [figure for figure in figures if figure]


def loaders_of(run: Run) -> list[str]:
    """Say how loader processes go with cores and GPUs."""
    machine = run.about("machine")
    workers, cpus, gpus = run.setting("data", "num_workers"), machine.get("num_cpus"), machine.get("gpus")
    residency = run.setting("data", "residency")
    return loader_advice(
        workers if isinstance(workers, int) else None,
        cpus if isinstance(cpus, int) else None,
        run.metrics.get("data_wait_share"),
        [str(gpu) for gpu in gpus] if isinstance(gpus, Sequence) and not isinstance(gpus, str) else [],
        str(residency) if residency else None,
    )


def quality_part(run: Run) -> QualityPart | None:
    """Put together what is known of single classes; None where nothing is."""
    split = run.split
    confusion, scores = confusion_of(run.confusion, split), class_scores(run.classes, split)
    calibration = calibration_of(run.predictions, split)
    if not (confusion or scores or calibration):
        return None
    half = min(NUM_CLASSES, (len(scores) + 1) // 2)
    return QualityPart(
        split=split,
        confusion=confusion,
        heat_map=_heat_map(confusion) if confusion and len(confusion.names) > MAX_CLASSES_WITH_NUMBERS else "",
        pairs=confusion.worst_pairs(NUM_PAIRS) if confusion else [],
        best=scores[:half],
        worst=scores[half:][-half:][::-1],
        num_classes=len(scores),
        calibration=calibration,
        calibration_figure=drawing.draw_calibration(calibration) if calibration else None,
    )


def _heat_map(confusion: Confusion) -> str:
    """Draw the matrix, a pixel a cell, as a PNG in a data URI; its shades are transparencies, for any background."""
    from PIL import Image

    share_KK, num_classes = confusion.share_KK, len(confusion.names)
    is_right = np.eye(num_classes, dtype=bool)
    pixels = np.zeros((num_classes, num_classes, 4), dtype=np.uint8)
    pixels[is_right, :3], pixels[~is_right, :3] = (112, 136, 160), (222, 92, 28)
    # Shades that begin well above nothing: one picture of many must be seen.
    alpha = np.where(share_KK > 0, 0.25 + 0.75 * np.sqrt(np.clip(share_KK, 0, 1)), 0.0)
    pixels[..., 3] = (255 * np.where(is_right, 0.8 * alpha, alpha)).astype(np.uint8)
    image = Image.fromarray(pixels)
    if num_classes > MAX_HEAT_MAP_SIDE:
        image = image.resize((MAX_HEAT_MAP_SIDE, MAX_HEAT_MAP_SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return data_uri(stream.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Return an address that holds the content itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def facts_of(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """List where, when and with what it ran, in groups of names and values."""
    record = run.record
    times = [(key, record.get(key)) for key in ("started", "finished", "source_revision")]
    times[:2] = [(key, str(value).replace("T", " ", 1) if value else None) for key, value in times[:2]]
    times.insert(2, ("took", None if run.seconds is None else duration(run.seconds)))
    groups = [("run", [("folder", run.name), ("state", run.state), *times]),
              ("machine", list(run.about("machine").items())),
              ("versions", list(run.about("versions").items()))]  # fmt: skip
    return [
        (title, [(str(key).replace("_", " "), _plain(value)) for key, value in rows if value not in (None, "", [])])
        for title, rows in groups
        if rows
    ]


def model_words(run: Run) -> str:
    """Say in a line what was trained on what."""
    steps = len(run.steps) if run.steps else 0
    classes = run.num_classes
    parts = [
        str(run.setting("model", "architecture") or ""),
        f"{run.setting('model', 'input_size_px')} px" if run.setting("model", "input_size_px") else "",
        count(classes, "class") if classes else "",
        count(steps, "step") if steps else "",
        _plain(run.about("machine").get("gpus")) or "on the CPU" if run.about("machine") else "",
    ]
    return " · ".join(part for part in parts if part)


def _plain(value: Any) -> str:
    """Write a fact: machines with eight of the same name it once."""
    if isinstance(value, (list, tuple)):
        amounts = Counter(map(str, value))
        return ", ".join(name if amount == 1 else f"{amount} × {name}" for name, amount in amounts.items())
    return number(value) if isinstance(value, float) else "" if value is None else str(value)
