"""A run folder as plain values: what reports are made from. It is read as it stands; nothing in it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dogbreed import run_files
from dogbreed.errors import UserError
from dogbreed.lock import is_held
from dogbreed.reporting.sources import HUGE, Reader, Table

_OPERATORS = f"{run_files.PROFILE}/{run_files.OPERATORS_CSV}"
_PICTURES = f"{run_files.THUMBS}/{run_files.THUMBS_INDEX}"
# Any one of these makes a folder one that holds a run.
_SIGNS = (
    *(run_files.RUN_JSON, run_files.METRICS_CSV, run_files.METRICS_JSON, run_files.STEPS_CSV),
    *(run_files.CONFIG_YAML, run_files.HYDRA_CONFIG),
)
MAX_THUMB_BYTES = 200_000


@dataclass(frozen=True)
class RuleResult:
    """A rule's object in ``diagnosis.json``.

    Args:
        name: As the configuration calls it.
        verdict: ``issue``, ``ok`` or ``skipped``.
        first_step: Step at which something was found first; None for never.
        count: How often something was found.
        evidence: What was measured, or why the rule was skipped.
        advice: What to do about it.
        parameters: Thresholds, by name.
    """

    name: str
    verdict: str
    first_step: int | None = None
    count: int = 0
    evidence: str = ""
    advice: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_issue(self) -> bool:
        """Whether something is wrong."""
        return self.verdict == "issue"


@dataclass(frozen=True)
class Picture:
    """A small picture of a mistake.

    Args:
        jpeg: The file's content.
        split: Where it comes from.
        file: Its name there.
        label: What it shows.
        predicted: What it was taken for.
        probability: How sure that was, 0..1.
    """

    jpeg: bytes
    split: str
    file: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Run:
    """Everything that a run folder says.

    Args:
        folder: Where it is.
        state: ``completed``, ``pruned``, ``failed``, ``interrupted``, ``running``; ``died`` for a run that says that
            it is running while nobody holds its lock; ``unknown`` without ``run.json``.
        record: ``run.json``.
        metrics: Final numbers by name.
        config: The configuration; ``config_text`` is the same as YAML.
        overrides: What was given on the command line.
        epochs: ``metrics.csv``.
        steps: ``steps.csv``.
        system: ``system.csv``.
        operators: ``profile/operators.csv``.
        window: ``profile/window.json``.
        has_trace: Whether there is a trace beside it.
        rules: ``diagnosis.json``.
        classes: ``classes.csv``.
        confusion: ``confusion.csv``.
        predictions: ``predictions.csv``.
        mistakes: The pictures in ``thumbs/``.
        problems: A sentence for each file that cannot be read.
    """

    folder: Path
    state: str = "unknown"
    record: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    overrides: tuple[str, ...] = ()
    epochs: Table | None = None
    steps: Table | None = None
    system: Table | None = None
    operators: Table | None = None
    window: Mapping[str, Any] = field(default_factory=dict)
    has_trace: bool = False
    rules: tuple[RuleResult, ...] = ()
    classes: Table | None = None
    confusion: Table | None = None
    predictions: Table | None = None
    mistakes: tuple[Picture, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.absolute().name

    @property
    def split(self) -> str:
        """The split that people want to see: ``test`` where it was measured, else ``valid``."""
        measured = set(self.predictions.texts("split")) if self.predictions else set()
        return "test" if "test" in measured or "test/acc_top1" in self.metrics else "valid"

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; None if nothing says."""
        names = set(self.classes.texts("class")) if self.classes else set()
        return len(names) or None

    @property
    def num_epochs(self) -> int:
        """How many epochs are over."""
        return len(self.epochs) if self.epochs else 0

    @property
    def max_epochs(self) -> int | None:
        """How many epochs were planned; None if the configuration does not say."""
        planned = self.setting("trainer", "max_epochs")
        return planned if isinstance(planned, int) and planned > 0 else None

    @property
    def seconds(self) -> float | None:
        """What the run took; None if nothing says."""
        return self.metrics.get("seconds", _numbers(self.record).get("seconds"))

    def setting(self, *keys: str) -> Any:
        """Return a value of the configuration; None where there is none."""
        node: Any = self.config
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def about(self, group: str) -> Mapping[str, Any]:
        """Return an object in ``run.json``, such as ``machine``; empty where there is none."""
        found = self.record.get(group)
        return found if isinstance(found, Mapping) else {}


def holds_run(folder: Path) -> bool:
    """Say whether a folder looks like a run's."""
    return any((folder / name).is_file() for name in _SIGNS)


def load_run(folder: Path) -> Run:
    """Read a run folder, at whatever moment of the run's life.

    Args:
        folder: The folder.

    Raises:
        UserError: there is no run in it, or nothing of it can be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: name one that python -m dogbreed.train has written."
        raise UserError(msg)
    if not holds_run(folder):
        msg = f"{folder} holds no run: name a folder that python -m dogbreed.train has written."
        raise UserError(msg)
    reader = Reader(folder)
    run = _read(reader)
    if not reader.num_read:
        msg = f"Nothing in {folder} can be read: {' '.join(reader.problems)}"
        raise UserError(msg)
    return run


def _read(reader: Reader) -> Run:
    record = reader.object(run_files.RUN_JSON)
    config, config_text = _config(reader)
    overrides, _ = reader.yaml(run_files.HYDRA_OVERRIDES)
    steps = reader.table(run_files.STEPS_CSV, ("step", "loss", "seconds"))
    return Run(
        folder=reader.folder,
        state=_state(record, reader.folder),
        record=record,
        metrics=_numbers(reader.object(run_files.METRICS_JSON)),
        config=config,
        config_text=config_text,
        overrides=tuple(map(str, overrides)) if isinstance(overrides, list) else (),
        epochs=reader.table(run_files.METRICS_CSV, ("epoch",)),
        steps=steps,
        system=reader.table(run_files.SYSTEM_CSV, ("seconds",)),
        operators=reader.table(_OPERATORS, ("calls", "cpu_ms", "gpu_ms"), ("name",)),
        window=reader.object(f"{run_files.PROFILE}/{run_files.WINDOW_JSON}"),
        has_trace=(reader.folder / run_files.PROFILE / run_files.TRACE).is_file(),
        rules=_rules(reader),
        classes=reader.table(run_files.CLASSES_CSV, ("pictures", "precision", "recall", "f1"), ("split", "class")),
        confusion=reader.table(run_files.CONFUSION_CSV, ("count",), ("split", "label", "predicted")),
        predictions=reader.table(run_files.PREDICTIONS_CSV, ("probability",), ("split", "file", "label", "predicted")),
        mistakes=_pictures(reader),
        problems=tuple(reader.problems),
    )


def _state(record: Mapping[str, Any], folder: Path) -> str:
    state = record.get("state")
    if state == "running" and not is_held(folder / run_files.RUN_LOCK):
        return "died"
    return state if state in ("completed", "pruned", "failed", "interrupted", "running") else "unknown"


def _config(reader: Reader) -> tuple[Mapping[str, Any], str]:
    """Read the configuration with its ``auto`` values decided; as it was given where a run has not come so far."""
    for name in (run_files.CONFIG_YAML, run_files.HYDRA_CONFIG):
        config, text = reader.yaml(name)
        if isinstance(config, Mapping):
            return config, text
    return {}, ""


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep what is a number, and finite: others are damage."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < HUGE
    }


def _rules(reader: Reader) -> tuple[RuleResult, ...]:
    rows = reader.list(run_files.DIAGNOSIS_JSON)
    good = [row for row in rows if isinstance(row, Mapping) and row.get("name") and row.get("verdict")]
    if len(good) < len(rows):
        reader.problems.append(f"diagnosis.json: {len(rows) - len(good)} rules cannot be read and are left out.")
    return tuple(
        RuleResult(
            name=str(row["name"]),
            verdict=str(row["verdict"]),
            first_step=_whole(row.get("first_step")),
            count=_whole(row.get("count")) or 0,
            evidence=str(row.get("evidence") or ""),
            advice=str(row.get("advice") or ""),
            parameters=parameters if isinstance(parameters := row.get("parameters"), Mapping) else {},
        )
        for row in good
    )


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e18 else None


def _pictures(reader: Reader) -> tuple[Picture, ...]:
    index = reader.table(_PICTURES, ("probability",), ("thumb", "label", "predicted"))
    if index is None:
        return ()
    pictures, num_lost = [], 0
    columns = [index.texts(name) for name in ("thumb", "split", "file", "label", "predicted")]
    for probability, (thumb, split, file, label, predicted) in zip(
        index.numbers("probability"), zip(*columns, strict=True), strict=True
    ):
        jpeg = _thumb(reader.folder / run_files.THUMBS, thumb)
        if jpeg:
            pictures.append(Picture(jpeg, split, file, label, predicted, float(probability)))
        else:
            num_lost += 1
    if num_lost:
        reader.problems.append(f"thumbs: {num_lost} of {len(index)} pictures cannot be read.")
    return tuple(pictures)


def _thumb(folder: Path, name: str) -> bytes:
    """Read a JPEG of reasonable size that lies in the folder itself; nothing otherwise."""
    path = folder / name
    try:
        if Path(name).name != name or path.is_symlink() or path.stat().st_size > MAX_THUMB_BYTES:
            return b""
        content = path.read_bytes()
    except (OSError, ValueError):
        return b""
    return content if content.startswith(b"\xff\xd8\xff") else b""
