"""The search space: what Hydra's own sweep grammar says, as plain values that every engine translates from.

One parameter is a key and a text: ``optim.lr: tag(log, interval(1e-4, 1e-1))``. Hydra's parser reads the text, so that
a file under ``conf/sweep/`` and a command line mean the same. Nothing here knows an engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dogbreed.errors import UserError

Value = str | int | float | bool | None

LINEAR, LOG, REVERSE_LOG = "linear", "log", "reverse_log"
SCALES = (LINEAR, LOG, REVERSE_LOG)
# So many values at most are counted one by one; a longer range is what `interval` is for.
MAX_VALUES = 10_000
GRAMMAR = "interval(0.001, 0.1), tag(log, interval(1e-4, 1e-1)), int(interval(1, 64)), range(1, 10) or choice(16, 32)"


@dataclass(frozen=True)
class Real:
    """Any number of an interval, ``interval(low, high)``; ``tag(log, …)`` and ``tag(reverse_log, …)`` set the scale.

    Args:
        low: Lowest value; above 0 on a logarithmic scale, at least 0 on a reversed one.
        high: Highest value, above ``low``; below 1 on a reversed one.
        scale: One of `SCALES`; reversed: evenly in the logarithm of 1 - value.
    """

    low: float
    high: float
    scale: str = LINEAR


@dataclass(frozen=True)
class Whole:
    """Any whole number of an interval, both ends included: ``int(interval(low, high))``.

    Args:
        low: Lowest value; at least 1 on a logarithmic scale.
        high: Highest value, above ``low``.
        scale: `LINEAR` or `LOG`.
    """

    low: int
    high: int
    scale: str = LINEAR


@dataclass(frozen=True)
class Choice:
    """One of some values: ``choice(16, 32)``, ``16,32``, or ``range(start, stop, step)``, whose stop is not included.

    Args:
        values: At least one; texts as Hydra takes them, a list or dictionary as the text that makes it.
        is_ordered: The values are those of a range, of which an engine may know that 3 is nearer to 2 than to 1.
    """

    values: tuple[Value, ...]
    is_ordered: bool = False


Parameter = Real | Whole | Choice
Space = Mapping[str, Parameter]


def parse_parameter(key: str, text: str) -> Parameter:
    """Read one parameter.

    Args:
        key: Configuration key, for sentences.
        text: In Hydra's sweep grammar; a single value is a choice of one.

    Raises:
        UserError: names the key and says what is wrong.

    Example:
        >>> parse_parameter("optim.lr", "tag(log, interval(1e-4, 0.1))")
        Real(low=0.0001, high=0.1, scale='log')
        >>> parse_parameter("trainer.max_epochs", "range(5, 10)").values
        (5, 6, 7, 8, 9)
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException as error:
        msg = f"The range of {key}, {text}, cannot be read ({str(error).splitlines()[0]}): write {GRAMMAR}."
        raise UserError(msg) from error
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None  # noqa: PT018
        return _interval(key, text, value.start, value.end, _scale(key, text, value.tags))
    if isinstance(value, RangeSweep):
        _refuse_tags(key, text, value.tags)
        assert value.start is not None and value.stop is not None  # noqa: PT018
        return Choice(_range_values(key, text, value.start, value.stop, value.step), is_ordered=True)
    if isinstance(value, ChoiceSweep):
        _refuse_tags(key, text, value.tags)
        return _choice(key, text, value.list)
    if isinstance(value, Glob):
        msg = f"The range of {key}, {text}: a glob names options of a group; name them, choice(resnet18, resnet50)."
        raise UserError(msg)
    return _choice(key, text, [value])


def parse_space(params: Mapping[str, str]) -> dict[str, Parameter]:
    """Read a whole search space, in its order.

    Args:
        params: Texts by key.

    Raises:
        UserError: as `parse_parameter`, or there is no parameter.
    """
    if not params:
        msg = f"The search space is empty: give one (sweep=head), or a range on the command line, KEY={GRAMMAR}."
        raise UserError(msg)
    return {key: parse_parameter(key, str(text)) for key, text in params.items()}


def parameter_text(parameter: Parameter) -> str:
    """Write a parameter as Hydra reads it; `parse_parameter` gives the same parameter back, but for `is_ordered`.

    Example:
        >>> parameter_text(Whole(1, 64, "log"))
        'tag(log, int(interval(1, 64)))'
    """
    if isinstance(parameter, Choice):
        listed = ", ".join(value_text(value) for value in parameter.values)
        return listed if None in parameter.values else f"choice({listed})"  # which takes no null
    inner = f"interval({parameter.low!r}, {parameter.high!r})"
    inner = f"int({inner})" if isinstance(parameter, Whole) else inner
    return inner if parameter.scale == LINEAR else f"tag({parameter.scale}, {inner})"


def value_text(value: Value) -> str:
    """Write a value so that Hydra reads the same one: ``null``, ``true``, ``0.1``, a quoted text where it must be.

    Example:
        >>> [value_text(value) for value in (None, True, 1e-05, "resnet50", "a,b", "1")]
        ['null', 'true', '1e-05', 'resnet50', "'a,b'", "'1'"]
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    return value if _reads_as_itself(value) else quoted(value)


def override_text(key: str, value: Value) -> str:
    """Write a parameter's value as the override that a trial is run with."""
    return f"{key}={value_text(value)}"


def grid(space: Space) -> Iterable[dict[str, Value]]:
    """Go through all combinations, the last parameter fastest, as Hydra's own sweeps do.

    Raises:
        UserError: a parameter has no list of values.
    """
    import itertools

    for key, parameter in space.items():
        if not isinstance(parameter, Choice):
            msg = (
                f"engine=grid goes through lists, and {key}={parameter_text(parameter)} is an interval: write "
                f"choice(…) or range(…), or use another engine (hydra.sweeper.engine=tpe)."
            )
            raise UserError(msg)
    lists = [parameter.values for parameter in space.values() if isinstance(parameter, Choice)]
    return (dict(zip(space, values, strict=True)) for values in itertools.product(*lists))


def _scale(key: str, text: str, tags: set[str]) -> str:
    unknown = sorted(tags - {LOG, REVERSE_LOG})
    if unknown or len(tags) > 1:
        named = ", ".join(unknown or sorted(tags))
        msg = f"The range of {key}, {text}: tag {named} is no scale; use log or reverse_log."
        raise UserError(msg)
    return next(iter(tags), LINEAR)


def _refuse_tags(key: str, text: str, tags: set[str]) -> None:
    if tags:
        msg = f"The range of {key}, {text}: a scale is for intervals, not for lists of values; leave tag(…) out."
        raise UserError(msg)


def _interval(key: str, text: str, low: float, high: float, scale: str) -> Real | Whole:
    wrong = ""
    if not (math.isfinite(low) and math.isfinite(high)):
        wrong = "its ends must be finite numbers"
    elif low >= high:
        wrong = f"it is {'empty' if low == high else 'reversed'}: its first end must be below its second"
    elif scale == LOG and low <= 0:
        wrong = "a logarithmic scale begins above 0"
    elif scale == REVERSE_LOG and (low < 0 or high >= 1):
        wrong = "a reversed logarithmic scale is for values from 0 to below 1"
    elif scale == REVERSE_LOG and isinstance(low, int):
        wrong = "a reversed logarithmic scale has no whole numbers"
    if wrong:
        msg = f"The range of {key}, {text}: {wrong}."
        raise UserError(msg)
    if isinstance(low, int) and isinstance(high, int):  # Hydra makes all ends floats but those in int(…)
        return Whole(low, high, scale)
    return Real(float(low), float(high), scale)


def _range_values(key: str, text: str, start: float, stop: float, step: float) -> tuple[Value, ...]:
    count = math.ceil((stop - start) / step) if step else 0
    if isinstance(start, float) and count > 1 and math.isclose(start + (count - 1) * step, stop, rel_tol=1e-9):
        count -= 1  # 0.1 + 3 * 0.1 is a little more than 0.4, which is not included
    if not 1 <= count <= MAX_VALUES:
        wrong = "it is empty" if count < 1 else f"it has {count} values, more than {MAX_VALUES}: use interval(…)"
        msg = f"The range of {key}, {text}: {wrong}."
        raise UserError(msg)
    # Rounded to what a person would write: 0.1 + 2 * 0.1 is 0.30000000000000004.
    values = (start + index * step for index in range(count))
    return tuple(value if isinstance(value, int) else float(f"{value:.12g}") for value in values)


def _choice(key: str, text: str, listed: list[Any]) -> Choice:
    values = tuple(_plain(one) for one in listed)
    if len(set(map(value_text, values))) < len(values):
        msg = f"The range of {key}, {text}: a value is there twice."
        raise UserError(msg)
    return Choice(values)


def _plain(value: Any) -> Value:
    from hydra.core.override_parser.types import Override, QuotedString

    if isinstance(value, QuotedString):
        return str(value.text)
    if isinstance(value, list | dict):
        return str(Override._get_value_element_as_str(value))  # noqa: SLF001 -- Hydra's own writer
    return value  # type: ignore[no-any-return]


def _reads_as_itself(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return False
    if override.is_sweep_override():
        return False
    value = override.value()
    return (isinstance(value, str) and value == text) or isinstance(value, list | dict)


def quoted(text: str) -> str:
    """Quote a text as Hydra reads it, whatever is in it."""
    import re

    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", "\\'")
    return f"'{escaped}'"
