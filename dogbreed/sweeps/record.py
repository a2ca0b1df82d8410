"""What a sweep has found: read from its run folders, kept in ``sweep.json``, the same for every engine.

Reading the folders instead of collecting results in memory makes the record independent of who ran the trials: this
process, others, or machines far away, whose folders are not here and whose trials the caller adds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from dogbreed.files import read_json, write_json
from dogbreed.run_files import DIAGNOSIS_JSON, HYDRA_OVERRIDES, METRICS_JSON, RUN_JSON, SWEEP_JSON
from dogbreed.sweeps.ranking import best_of, pareto_front

RUNNING, COMPLETED, INTERRUPTED = "running", "completed", "interrupted"
_READ = (RUN_JSON, METRICS_JSON, DIAGNOSIS_JSON, HYDRA_OVERRIDES)
# What is no part of a trial's recipe: where its values go, and what Hydra does.
_MACHINERY = ("trial", "hydra")


def collect_trials(sweep_dir: Path, objectives: Sequence[str], param_keys: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Read the trials of a sweep from its numbered run folders.

    Args:
        sweep_dir: Folder of the sweep.
        objectives: Metrics that are its values.
        param_keys: Keys of the search space.

    Returns:
        A dict a trial, in order of number: ``number``; ``overrides`` as typed, without those that only say where
        values go; ``params``, the values of the search space's keys; ``values`` (null where there is none);
        ``state`` (completed, pruned, failed, running or interrupted); ``reason``, why it was ended early; ``error``;
        ``seconds``; ``run_folder``, relative to the sweep's; ``issues`` (rules that found something).
    """
    keys, names = tuple(param_keys), tuple(objectives)
    folders = [
        folder for folder in sweep_dir.iterdir() if folder.name.isdigit() and (folder / HYDRA_OVERRIDES).is_file()
    ]
    trials = [dict(_read_trial(folder, names, keys, _signature(folder))) for folder in folders]
    return sorted(trials, key=lambda trial: int(trial["number"]))


def swept_params(overrides: Iterable[str]) -> dict[str, str]:
    """Return the text of each override that is a range or a list of values, by key.

    Example:
        >>> swept_params(["model=resnet18", "optim.lr=1e-3,1e-2", "seed=range(3)"])
        {'optim.lr': '1e-3,1e-2', 'seed': 'range(3)'}
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found = {}
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:  # whoever runs it says so
            continue
        if override.is_sweep_override():
            found[override.key_or_group] = text.partition("=")[2]
    return found


def search_params(params: Mapping[str, str], overrides: Sequence[str]) -> dict[str, str]:
    """Return a search space after what was typed: a range joins or replaces one, a plain value takes its key out.

    Args:
        params: Texts by key, as the configuration has them.
        overrides: As typed.

    Example:
        >>> search_params({"seed": "range(3)", "optim.lr": "1e-3,1e-2"}, ["seed=1", "data.batch_size=16,32"])
        {'optim.lr': '1e-3,1e-2', 'data.batch_size': '16,32'}
    """
    typed = {key_of(text) for text in overrides}
    kept = {key: text for key, text in params.items() if key not in typed}
    swept = swept_params(overrides)
    return {key: swept.get(key, text) for key, text in params.items() if key in swept or key in kept} | swept


def make_record(
    trials: Sequence[Mapping[str, Any]],
    *,
    engine: str,
    search_space: Sequence[str],
    objectives: Sequence[str],
    modes: Sequence[str],
    params: Mapping[str, str],
    state: str,
    search_hash: str | None = None,
    with_importance: bool = False,
) -> dict[str, Any]:
    """Put together what ``sweep.json`` holds.

    Args:
        trials: As `collect_trials` returns them.
        engine: Who has chosen the values: ``basic``, ``tpe``, ``grid``, ``bayesian``, …
        search_space: The overrides that were typed.
        objectives: Metrics that are the sweep's values.
        modes: ``max`` or ``min`` for each of them.
        params: The search space: texts in Hydra's grammar by key.
        state: ``running``, ``completed`` or ``interrupted``.
        search_hash: What the search is, for going on with it.
        with_importance: Whether to work out how much each parameter matters, which takes a moment.

    Returns:
        The record. ``best`` is the number of the best finished trial by the first objective; ``pareto``, for several
        objectives, the numbers of those that no other one beats; ``importance`` the share of each parameter in what
        tells the values of the first objective apart, the largest first, null where that is not known.
    """
    best = best_of(trials, modes[0])
    record = {
        "engine": engine,
        "state": state,
        "hash": search_hash,
        "search_space": list(search_space),
        "params": dict(params),
        "objective": list(objectives),
        "objective_mode": modes[0],
        "modes": list(modes),
        "best": best["number"] if best else None,
        "pareto": pareto_front(trials, modes) if len(objectives) > 1 else None,
        "importance": None,
        "trials": [dict(trial) for trial in trials],
    }
    if with_importance:
        from dogbreed.sweeps.importance import importance_of

        record["importance"] = importance_of(record)
    return record


def write_sweep(
    sweep_dir: Path,
    *,
    engine: str,
    search_space: Sequence[str],
    objectives: Sequence[str],
    modes: Sequence[str],
    params: Mapping[str, str] | None = None,
    state: str = RUNNING,
    search_hash: str | None = None,
    trials_elsewhere: Sequence[Mapping[str, Any]] | None = None,
    with_importance: bool = False,
) -> dict[str, Any]:
    """Write ``sweep.json`` from what is in the run folders, whole or not at all.

    Args:
        sweep_dir: Folder of the sweep.
        engine: As for `make_record`, as are the others not named here.
        search_space: The overrides that span it.
        objectives: Metrics that are its values.
        modes: ``max`` or ``min`` for each.
        params: The search space; None: as the file says, else the ranges among ``search_space``.
        state: Of the sweep.
        search_hash: None: as the file says.
        trials_elsewhere: Trials of other machines, as `collect_trials` returns them, ``run_folder`` null; where a
            folder is here, it counts. None: as the file says.
        with_importance: As for `make_record`.

    Returns:
        What was written.
    """
    before = read_json(sweep_dir / SWEEP_JSON)
    known = before.get("params")
    if params is None:
        params = known if isinstance(known, Mapping) and known else swept_params(search_space)
    if trials_elsewhere is None:
        trials_elsewhere = [trial for trial in before.get("trials") or () if trial.get("run_folder") is None]
    here = collect_trials(sweep_dir, objectives, params)
    numbers = {trial["number"] for trial in here}
    trials = [*here, *(dict(trial) for trial in trials_elsewhere if trial["number"] not in numbers)]
    record = make_record(
        sorted(trials, key=lambda trial: int(trial["number"])),
        engine=engine,
        search_space=search_space,
        objectives=objectives,
        modes=modes,
        params=params,
        state=state,
        search_hash=search_hash or before.get("hash"),
        with_importance=with_importance,
    )
    write_json(sweep_dir / SWEEP_JSON, record)
    return record


def key_of(override: str) -> str:
    """Return the key of an override as typed.

    Example:
        >>> [key_of(text) for text in ("+trial.number=3", "model=resnet18", "~callbacks.mine", "++a@b=1")]
        ['trial.number', 'model', 'callbacks.mine', 'a']
    """
    return override.partition("=")[0].lstrip("+~").partition("@")[0].strip()


def _signature(folder: Path) -> tuple[tuple[int, int], ...]:
    """Say in numbers how a trial's files stand: the same as long as nobody writes them."""
    found = []
    for name in _READ:
        try:
            status = (folder / name).stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


@lru_cache(maxsize=4096)  # a sweep's record is written after each trial, and what has ended stays as it is
def _read_trial(
    folder: Path, objectives: tuple[str, ...], keys: tuple[str, ...], _: tuple[tuple[int, int], ...]
) -> Mapping[str, Any]:
    state, metrics = read_json(folder / RUN_JSON), read_json(folder / METRICS_JSON)
    overrides = [text for text in _overrides(folder) if key_of(text).partition(".")[0] not in _MACHINERY]
    return {
        "number": int(folder.name),
        "overrides": overrides,
        "params": _params(overrides, keys),
        "values": [metrics.get(name) for name in objectives],
        "state": state.get("state", "failed"),
        "reason": state.get("reason"),
        "error": state.get("error"),
        "seconds": state.get("seconds"),
        "run_folder": folder.name,
        "issues": _issues(folder / DIAGNOSIS_JSON),
    }


def _overrides(folder: Path) -> list[str]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load((folder / HYDRA_OVERRIDES).read_text(encoding="utf-8"), loader)  # noqa: S506 -- both are safe
    except (OSError, ValueError, yaml.YAMLError):  # of a trial whose process was killed just then
        return []
    return [str(text) for text in found] if isinstance(found, list) else []


def _params(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    """Return the values that Hydra reads in the overrides of some keys; lists and mappings as they are typed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found: dict[str, Any] = {}
    for text in overrides:
        if key_of(text) not in keys:
            continue
        typed = text.partition("=")[2]
        try:
            value: Any = OverridesParser.create().parse_override(text).value()
        except HydraException:
            value = typed
        found[key_of(text)] = value if value is None or isinstance(value, (str, int, float, bool)) else typed
    return {key: found[key] for key in keys if key in found}


def _issues(file: Path) -> list[str]:
    try:
        return [row["name"] for row in json.loads(file.read_text(encoding="utf-8")) if row["verdict"] == "issue"]
    except (OSError, ValueError, TypeError, KeyError):  # a trial without rules, or one that was killed
        return []
