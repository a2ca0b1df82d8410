"""What was typed after ``-m``: ranges, which join the search space, and the rest, which goes to each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogbreed.sweeps.space import Value, override_text


def read_arguments(
    arguments: Sequence[str], params: Mapping[str, str], config_loader: Any = None
) -> tuple[list[str], dict[str, str]]:
    """Tell ranges from values.

    A range joins the search space or takes the place of one; a plain value takes its key out of it.

    Args:
        arguments: Overrides of the task, as typed.
        params: The search space of the configuration: key to a text in Hydra's sweep grammar.
        config_loader: Hydra's.

    Returns:
        The overrides of every trial, and the search space.

    Raises:
        hydra.errors.OverrideParseException: an override cannot be read.

    Example:
        >>> read_arguments(["seed=1", "optim.lr=1,2"], {"seed": "1,2", "optim.lr": "interval(0, 1)"})
        (['seed=1'], {'optim.lr': '1,2'})
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create(config_loader=config_loader).parse_overrides(list(arguments))
    fixed, texts = [], {str(key): str(text) for key, text in params.items()}
    for override, typed in zip(overrides, arguments, strict=True):
        key = override.get_key_element()
        is_range = override.is_sweep_override()
        for one in [one for one in texts if bare(one) == bare(key) and not (is_range and one == key)]:
            del texts[one]
        if is_range:
            texts[key] = typed.partition("=")[2]
        else:
            fixed.append(typed)
    return fixed, texts


def trial_overrides(fixed: Sequence[str], values: Mapping[str, Value], more: Sequence[str] = ()) -> list[str]:
    """Return the overrides of one trial: those of all, its values, and what it needs to know."""
    return [*fixed, *(override_text(key, value) for key, value in values.items()), *more]


def bare(key: str) -> str:
    """Return a key without the ``+`` that adds it."""
    return key.lstrip("+")
