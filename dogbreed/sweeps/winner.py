"""The winner of a sweep, trained properly: ``python -m dogbreed.train from_sweep=FOLDER``.

The winner's overrides enter before those that are typed, which win. What a trial is spared, a winner gets: twice the
epochs, unless they were searched, the whole diagnosis, the report, and the test split, measured once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dogbreed.command import add_overrides
from dogbreed.config import compose
from dogbreed.distributed import is_main
from dogbreed.errors import UserError
from dogbreed.files import read_json
from dogbreed.run_files import SWEEP_JSON
from dogbreed.sweeps.ranking import first_value
from dogbreed.sweeps.record import key_of
from dogbreed.sweeps.space import quoted, value_text
from dogbreed.sweeps.table import settings_of
from dogbreed.tables import format_number

KEY = "from_sweep"
EPOCHS = "trainer.max_epochs"
# More epochs than a trial had: the values were chosen among short runs, and the winner may take its time.
MORE_EPOCHS = 2
FINAL = ("diagnose=default", "report=true", "test_after_fit=true")
# Where and how often trials ran, which says nothing of what the winner is.
_NOT_RECIPE = ("trial", "hydra", "launch", "resume", "checkpoint_dir", "origin", KEY)


def with_winner(arguments: Sequence[str]) -> list[str]:
    """Put the winner's overrides before those that were typed, if ``from_sweep=FOLDER`` is among them.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command line for Hydra.

    Raises:
        UserError: there is no such sweep, none of its trials has finished, or this is a sweep itself.
    """
    folders = [text.partition("=")[2] for text in arguments if key_of(text) == KEY and "=" in text]
    if not folders or folders[-1] in ("", "null"):
        return list(arguments)
    if any(text in ("-m", "--multirun") for text in arguments):
        msg = f"{KEY}={folders[-1]} trains the one winner: leave -m out, and name single values."
        raise UserError(msg)
    folder = Path(folders[-1].strip("'\"")).expanduser()
    overrides = retraining_overrides(read_sweep(folder), str(folder.absolute()), arguments)
    return add_overrides(arguments, overrides, first=True)


def read_sweep(folder: Path) -> dict[str, Any]:
    """Read ``sweep.json``.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not folder.is_dir():
        msg = f"{KEY}={folder}: there is no such folder; name one that python -m dogbreed.train -m … has written."
        raise UserError(msg)
    sweep = read_json(folder / SWEEP_JSON)
    if not isinstance(sweep.get("trials"), list):
        what = "a sweep.json that cannot be read" if (folder / SWEEP_JSON).exists() else "no sweep.json"
        msg = f"{KEY}={folder} holds {what}: name the folder of a sweep, runs/sweep_…, not of one of its runs."
        raise UserError(msg)
    return sweep


def winner_of(sweep: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """Return the best trial.

    Args:
        sweep: As in ``sweep.json``.
        place: What it is called, for the sentence.

    Raises:
        UserError: no trial has finished.
    """
    best = next((trial for trial in sweep["trials"] if trial["number"] == sweep.get("best")), None)
    if best is None:
        num_trials = len(sweep["trials"])
        msg = f"None of the {num_trials} trials of {place} has finished with a value, so that nobody has won yet."
        raise UserError(msg)
    return best  # type: ignore[no-any-return]


def winner_overrides(sweep: Mapping[str, Any], place: str = "the sweep") -> list[str]:
    """Return what makes the winner's recipe: what was fixed for the whole sweep, and the values that it was given.

    Args:
        sweep: As in ``sweep.json``, with a best trial.
        place: What the sweep is called, for the sentence.

    Raises:
        UserError: no trial has finished.
    """
    return [
        str(text) for text in winner_of(sweep, place)["overrides"]
        if key_of(str(text)).replace("/", ".").partition(".")[0] not in _NOT_RECIPE
    ]  # fmt: skip


def retraining_overrides(sweep: Mapping[str, Any], place: str, typed: Sequence[str]) -> list[str]:
    """Return what enters before the overrides that were typed, so that the winner is trained; print what is decided.

    Args:
        sweep: As in ``sweep.json``.
        place: Where it is from, a folder or a tuning job's name: goes into the run's ``origin``.
        typed: The command line; its keys are left out.

    Raises:
        UserError: no trial has finished, or the configuration cannot be composed.
    """
    best = winner_of(sweep, place)
    keys = {key_of(text) for text in typed}
    given = [text for text in winner_overrides(sweep, place) if key_of(text) not in keys]
    final = [text for text in FINAL if key_of(text) not in keys]
    recipe = [*_without(given, final), *final]
    epochs = []
    if EPOCHS not in keys and EPOCHS not in best.get("params", {}) and EPOCHS not in sweep.get("params", {}):
        plain = [text for text in typed if _is_plain(text)]
        before = compose([*recipe, *plain]).trainer.max_epochs
        epochs = [f"{EPOCHS}={MORE_EPOCHS * before}"] if isinstance(before, int) else []
    if is_main() and not any(text.startswith("--") for text in typed):  # whose output others may read
        value = f"{sweep['objective'][0]} {format_number(first_value(best))}"
        decided = " ".join([*epochs, *final])
        sys.stdout.write(f"winner  trial {best['number']} of {place}, {value}: {settings_of(best)}\n")
        sys.stdout.write(f"        trained anew with {decided}\n" if decided else "")
    return [*_without(recipe, epochs), *epochs, _origin(sweep, best, place, given)]


def _origin(sweep: Mapping[str, Any], best: Mapping[str, Any], place: str, overrides: Sequence[str]) -> str:
    """Return the override that makes the run say where its values come from."""
    listed = ",".join(_literal(text) for text in overrides)
    value = value_text(first_value(best))
    objective = _literal(str(sweep["objective"][0]))
    parts = f"sweep:{_literal(place)},trial:{best['number']},objective:{objective},value:{value},overrides:[{listed}]"
    return f"origin={{{parts}}}"


def _literal(text: str) -> str:
    """Quote a text so that neither Hydra nor OmegaConf takes a part of it for something else."""
    return quoted(text.replace("${", "\\${"))


def _without(overrides: Sequence[str], replaced: Sequence[str]) -> list[str]:
    keys = {key_of(text) for text in replaced}
    return [text for text in overrides if key_of(text) not in keys]


def _is_plain(text: str) -> bool:
    is_override = "=" in text or text.startswith("~")
    return is_override and not text.startswith("-") and key_of(text) not in (KEY, "origin") and "hydra" not in text
