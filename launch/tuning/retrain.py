"""The winner of a tuning job, trained properly: ``python -m launch.train from_tuning=NAME launch=a10g``.

What that is, is said where the winner of a sweep is trained (`dogbreed.sweeps.winner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dogbreed.command import add_overrides
from dogbreed.errors import UserError
from dogbreed.sweeps.record import key_of
from dogbreed.sweeps.space import value_text
from dogbreed.sweeps.winner import retraining_overrides, with_winner

KEY = "from_tuning"
REGION = "launch.region"


def with_tuning_winner(arguments: Sequence[str]) -> list[str]:
    """Put the winner's overrides before those that were typed, if ``from_tuning=NAME`` or ``from_sweep=`` is there.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command line for Hydra.

    Raises:
        UserError: there is no such tuning job, none of its jobs has reported a value, or this is a sweep.
    """
    names = [_value(text) for text in arguments if key_of(text) == KEY and "=" in text]
    kept = [text for text in arguments if key_of(text) != KEY or "=" not in text]
    if not names or names[-1] in ("", "null"):
        return with_winner(kept)
    name = names[-1]
    if any(text in ("-m", "--multirun") for text in kept):
        msg = f"{KEY}={name} trains the one winner: leave -m out, and name single values."
        raise UserError(msg)
    if any(key_of(text) == "from_sweep" for text in kept):
        msg = f"{KEY}={name} and from_sweep name two winners: leave one of them out."
        raise UserError(msg)
    # Its place is also what a single run with `sweep=…` among the overrides is known by.
    overrides = [*_overrides(name, kept), f"from_sweep={value_text(name)}"]
    return add_overrides(kept, overrides, first=True)


def _overrides(name: str, typed: Sequence[str]) -> list[str]:
    from launch.job_lookup import Lookup
    from launch.tuning.fetch import search_record

    regions = [_value(text) for text in typed if key_of(text) == REGION]
    job = Lookup(regions[-1] if regions else None, Path("runs")).find(name)
    if not job.record.is_tuning:
        msg = f"{KEY}={name} is a training job; name a tuning job, python -m launch.jobs list shows them."
        raise UserError(msg)
    state = job.service.describe(job.record.job_name)
    return retraining_overrides(search_record(job.record, state), state.name, typed)


def _value(text: str) -> str:
    return text.partition("=")[2].strip("'\"")
