"""A sweep's folder as plain values: what its page is made from. It is read as it stands; nothing in it is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dogbreed import run_files
from dogbreed.errors import UserError
from dogbreed.lock import is_held
from dogbreed.reporting.differences import MISSING, differing_keys
from dogbreed.reporting.run import holds_run
from dogbreed.reporting.sources import HUGE, Reader, Table

STATES = ("completed", "pruned", "failed", "running", "interrupted")


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep.

    Args:
        number: The trial's.
        state: ``completed``, ``pruned``, ``failed``, ``running``, ``interrupted``; ``died`` for one that says that it
            is running while nobody holds its lock; ``unknown``.
        values: Of the objectives; NaN where there is none.
        params: Values by key of the search space.
        seconds: What it took; None if nothing says.
        reason: Why it was ended early, or has failed.
        issues: Rules that have found something.
        folder: The run folder; None where it is on another machine.
        metrics: Final numbers by name.
        epochs: ``metrics.csv``.
    """

    number: int
    state: str
    values: tuple[float, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""
    issues: tuple[str, ...] = ()
    folder: Path | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: Table | None = None

    @property
    def value(self) -> float:
        """The first value; NaN if there is none."""
        return self.values[0] if self.values else math.nan

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end, and to a value."""
        return self.state == "completed" and math.isfinite(self.value)


@dataclass(frozen=True)
class Search:
    """Everything that a sweep's folder says.

    Args:
        folder: Where it is.
        engine: Who has chosen the values; empty if nothing says.
        state: ``running``, ``completed``, ``interrupted`` or ``unknown``.
        objectives: Metrics that are its values.
        modes: ``max`` or ``min`` for each.
        texts: The search space: texts by key; empty if nothing says.
        typed: The overrides of the sweep.
        trials: In order of number.
        importance: Share of each parameter; empty where it is not known.
        front: Numbers of the trials that no other one beats, where there are several objectives.
        problems: A sentence for each file that cannot be read.
    """

    folder: Path
    engine: str
    state: str
    objectives: tuple[str, ...]
    modes: tuple[str, ...]
    texts: Mapping[str, str]
    typed: tuple[str, ...]
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]
    front: tuple[int, ...]
    problems: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The parameters, those that matter most first, then as the search space lists them."""
        there = dict.fromkeys(key for trial in self.trials for key in trial.params)
        first = [*self.importance, *self.texts]
        return [key for key in dict.fromkeys([*first, *there]) if key in there]

    @property
    def ranked(self) -> list[Trial]:
        """The trials, finished ones first and the best of them on top, then pruned ones, then those without a value."""
        return sorted(self.trials, key=self._rank_key)

    @property
    def best(self) -> Trial | None:
        """The best finished trial by the first objective."""
        first = self.ranked[0] if self.trials else None
        return first if first and first.is_finished else None

    def _rank_key(self, trial: Trial) -> tuple[bool, bool, float, int]:
        is_there = math.isfinite(trial.value)
        value = (-trial.value if self.modes[0] == "max" else trial.value) if is_there else 0.0
        return not is_there, is_there and trial.state != "completed", value, trial.number


def holds_sweep(folder: Path) -> bool:
    """Say whether a folder is a sweep's: it holds ``sweep.json``, or numbered run folders and is no run itself."""
    return (folder / run_files.SWEEP_JSON).is_file() or (not holds_run(folder) and bool(trial_folders(folder)))


def trial_folders(folder: Path) -> list[Path]:
    """Return the run folders of a sweep in order of number."""
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.iterdir() if path.name.isdigit() and holds_run(path)]
    return sorted(numbered, key=lambda path: int(path.name))


def load_search(folder: Path) -> Search:
    """Read a sweep's folder, at whatever moment of the sweep's life.

    Args:
        folder: The folder.

    Raises:
        UserError: it holds no sweep, or nothing of it can be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: name one that python -m dogbreed.train -m has written."
        raise UserError(msg)
    reader = Reader(folder)
    record = reader.object(run_files.SWEEP_JSON)
    folders = {int(path.name): path for path in trial_folders(folder)}
    rows = {row["number"]: row for row in _mappings(record.get("trials")) if isinstance(row.get("number"), int)}
    if not rows and not folders:
        msg = f"{folder} is a sweep without a run that has begun."
        raise UserError(msg)
    readers = {number: Reader(path) for number, path in folders.items()}
    objectives, modes = _objectives(record, readers)
    trials = [_trial(number, rows.get(number, {}), readers.get(number), objectives)
              for number in sorted({*rows, *folders})]  # fmt: skip
    problems = list(reader.problems)
    if not any(trial.params for trial in trials):
        trials = _with_differences(trials, readers)
    if not rows and not any(one.num_read for one in readers.values()):
        unread = [problem for one in readers.values() for problem in one.problems]
        msg = f"None of the runs can be read: {unread[0] if unread else folder}"
        raise UserError(msg)
    problems += [f"{number}: {problem}" for number, one in readers.items() for problem in one.problems]
    importance = {str(key): float(share) for key, share in _mapping(record.get("importance")).items()
                  if _is_number(share) and share >= 0}  # fmt: skip
    return Search(
        folder=folder,
        engine=str(record.get("engine") or ""),
        state=str(record.get("state") or "unknown"),
        objectives=objectives,
        modes=modes,
        texts={str(key): str(text) for key, text in _mapping(record.get("params")).items()},
        typed=tuple(map(str, _list(record.get("search_space")))),
        trials=tuple(trials),
        importance=importance,
        front=tuple(number for number in _list(record.get("pareto")) if isinstance(number, int)),
        problems=tuple(problems),
    )


def _objectives(record: Mapping[str, Any], readers: Mapping[int, Reader]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics that the trials go by and their modes; the runs know, where no record says."""
    named, modes = record.get("objective"), record.get("modes") or [record.get("objective_mode")]
    for reader in readers.values() if not named else ():
        config, _ = reader.yaml(run_files.CONFIG_YAML)
        if isinstance(config, Mapping) and config.get("objective"):
            named, modes = config["objective"], [config.get("objective_mode")]
            break
    names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str) and name]
    names = names or ["val/acc_top1"]
    known = list(modes) if isinstance(modes, list) else []
    known += [None] * (len(names) - len(known))
    found = [mode if mode in ("max", "min") else mode_of(name) for name, mode in zip(names, known, strict=False)]
    return tuple(names), tuple(found)


def mode_of(metric: str) -> str:
    """Return ``min`` for metrics of which less is better, else ``max``."""
    less = ("loss", "ece", "seconds", "peak_memory_gb", "data_wait_share", "num_parameters")
    return "min" if metric.rpartition("/")[2].startswith(less) else "max"


def _trial(number: int, row: Mapping[str, Any], reader: Reader | None, objectives: Sequence[str]) -> Trial:
    """Put together what the sweep's record and the run folder say; the folder knows later news."""
    state = reader.object(run_files.RUN_JSON) if reader else {}
    found = reader.object(run_files.METRICS_JSON) if reader else {}
    metrics = {key: float(value) for key, value in found.items() if _is_number(value)}
    values = _list(row.get("values"))
    values += [None] * (len(objectives) - len(values))
    listed = [metrics.get(name, value) for name, value in zip(objectives, values, strict=False)]
    word = str(state.get("state") or row.get("state") or "unknown")
    if word == "running" and reader and not is_held(reader.folder / run_files.RUN_LOCK):
        word = "died"
    reason = next((str(of[key]) for of in (state, row) for key in ("reason", "error") if of.get(key)), "")
    seconds = next((of["seconds"] for of in (state, row, metrics) if _is_number(of.get("seconds"))), None)
    rules = _mappings(reader.list(run_files.DIAGNOSIS_JSON)) if reader else []
    issues = [str(rule.get("name")) for rule in rules if rule.get("verdict") == "issue"]
    return Trial(
        number=number,
        state=word if word in (*STATES, "died") else "unknown",
        values=tuple(float(value) if _is_number(value) else math.nan for value in listed),
        params={str(key): value for key, value in _mapping(row.get("params")).items()},
        seconds=seconds,
        reason=" ".join(reason.split()),
        issues=tuple(issues or map(str, _list(row.get("issues")))),
        folder=reader.folder if reader else None,
        metrics=metrics,
        epochs=reader.table(run_files.METRICS_CSV, ("epoch",)) if reader else None,
    )


def _with_differences(trials: Sequence[Trial], readers: Mapping[int, Reader]) -> list[Trial]:
    """Take what is different in the trials' configurations for their parameters, where nothing says what was varied."""
    from dataclasses import replace

    configs: dict[int, Mapping[str, Any]] = {}
    for number, reader in readers.items():
        for name in (run_files.CONFIG_YAML, run_files.HYDRA_CONFIG):
            config, _ = reader.yaml(name)
            if isinstance(config, Mapping):
                configs[number] = config
                break
    found = differing_keys(list(configs.values()))
    params = {
        number: {key: values[place] for key, values in found.items() if values[place] is not MISSING}
        for place, number in enumerate(configs)
    }
    return [replace(trial, params=params.get(trial.number, {})) for trial in trials]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < HUGE


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, Mapping)]
