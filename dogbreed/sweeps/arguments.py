"""What was typed after ``-m``: ranges, which join the search space, and the rest, which goes to each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dogbreed.sweeps.space import Value, override_text


@dataclass(frozen=True)
class Slot:
    """Where among the overrides of a trial a searched value stands.

    Args:
        key: As typed, ``+key`` for one that is added.
    """

    key: str


Layout = Sequence[str | Slot]


def read_arguments(
    arguments: Sequence[str], params: Mapping[str, str], config_loader: Any = None
) -> tuple[list[str | Slot], dict[str, str]]:
    """Tell ranges from values.

    A range joins the search space or takes the place of one; a plain value takes its key out of it.

    Args:
        arguments: Overrides of the task, as typed.
        params: The search space of the configuration: key to a text in Hydra's sweep grammar.
        config_loader: Hydra's.

    Returns:
        What was typed, in its order, with slots for ranges; and the search space.

    Raises:
        hydra.errors.OverrideParseException: an override cannot be read.

    Example:
        >>> read_arguments(["optim.lr=1,2", "seed=1"], {"seed": "1,2", "optim.lr": "interval(0, 1)"})
        ([Slot(key='optim.lr'), 'seed=1'], {'optim.lr': '1,2'})
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create(config_loader=config_loader).parse_overrides(list(arguments))
    layout: list[str | Slot] = []
    texts = {str(key): str(text) for key, text in params.items()}
    for override, typed in zip(overrides, arguments, strict=True):
        key = override.get_key_element()
        is_range = override.is_sweep_override()
        for one in [one for one in texts if bare(one) == bare(key) and not (is_range and one == key)]:
            del texts[one]
        if is_range:
            texts[key] = typed.partition("=")[2]
        layout.append(Slot(key) if is_range else typed)
    return layout, texts


def trial_overrides(layout: Layout, values: Mapping[str, Value], more: Mapping[str, Value] | None = None) -> list[str]:
    """Return the overrides of one trial: what was typed, its values, and what it needs to know.

    Args:
        layout: As `read_arguments` returns it; slots whose key has no value are left out.
        values: Of the search space.
        more: Other keys and their values.

    Example:
        >>> trial_overrides([Slot("optim.lr"), "seed=1"], {"data.batch_size": 8, "optim.lr": 0.1})
        ['optim.lr=0.1', 'seed=1', 'data.batch_size=8']
    """
    typed = {one.key for one in layout if isinstance(one, Slot)}
    placed = [
        one if isinstance(one, str) else override_text(one.key, values[one.key])
        for one in layout
        if isinstance(one, str) or one.key in values
    ]
    others = {key: value for key, value in values.items() if key not in typed} | dict(more or {})
    return [*placed, *(override_text(key, value) for key, value in others.items())]


def bare(key: str) -> str:
    """Return a key without the ``+`` that adds it."""
    return key.lstrip("+")
