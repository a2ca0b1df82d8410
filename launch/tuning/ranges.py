"""A search space as SageMaker's ParameterRanges, and back.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ParameterRanges.html

Values of lists travel as overrides do (`launch.overrides`), so that a child composes with the very value: ``32`` stays
a number, ``'32'`` a text, ``null`` null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogbreed.errors import UserError
from dogbreed.sweeps.space import (
    LINEAR,
    LOG,
    REVERSE_LOG,
    Choice,
    Parameter,
    Real,
    Space,
    Value,
    Whole,
    grid,
    parameter_text,
    parse_parameter,
    value_text,
)
from launch.overrides import MAX_NAME_CHARS, NOT_OVERRIDES, decode, encode

# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
MAX_RANGES, MAX_VALUES, MAX_VALUE_CHARS = 30, 30, 256
# AWS names no limit for whole numbers but 256 digits; from here on a double, in which a tuner reckons, leaves some out.
MAX_WHOLE = 2**53
SCALINGS = {LINEAR: "Linear", LOG: "Logarithmic", REVERSE_LOG: "ReverseLogarithmic"}
CONTINUOUS, INTEGER, CATEGORICAL = (f"{kind}ParameterRanges" for kind in ("Continuous", "Integer", "Categorical"))
Ranges = dict[str, list[dict[str, Any]]]


def to_ranges(space: Space, *, is_grid: bool = False) -> Ranges:
    """Translate a search space.

    An interval is a continuous or an integer range, a list a categorical one; but whole numbers that follow each other,
    ``range(5, 11)``, are an integer range, of which the tuner knows that 6 is near 5; a grid takes lists alone.

    Args:
        space: At least one parameter.
        is_grid: All combinations are to be gone through.

    Returns:
        By the API's names, without kinds that there are none of.

    Raises:
        UserError: SageMaker cannot express it.
    """
    if len(space) > MAX_RANGES:
        msg = f"The search space has {len(space)} parameters, and a tuning job takes at most {MAX_RANGES}."
        raise UserError(msg)
    if is_grid:
        grid(space)
    found: Ranges = {CONTINUOUS: [], INTEGER: [], CATEGORICAL: []}
    for key, parameter in space.items():
        _check_name(key)
        kind, row = _range(key, parameter, is_grid=is_grid)
        found[kind].append({"Name": key, **row})
    return {kind: rows for kind, rows in found.items() if rows}


def from_ranges(ranges: Mapping[str, Any]) -> dict[str, Parameter]:
    """Translate back what `to_ranges` has made, or anybody else has.

    Args:
        ranges: By the API's names; missing kinds are none.

    Raises:
        UserError: a value cannot be read.
    """
    scales = {scaling: scale for scale, scaling in SCALINGS.items()} | {"Auto": LINEAR}
    space: dict[str, Parameter] = {}
    for row in ranges.get(CONTINUOUS) or ():
        low, high = float(row["MinValue"]), float(row["MaxValue"])
        space[row["Name"]] = Real(low, high, scales[row.get("ScalingType", "Auto")])
    for row in ranges.get(INTEGER) or ():
        space[row["Name"]] = Whole(int(row["MinValue"]), int(row["MaxValue"]), scales[row.get("ScalingType", "Auto")])
    for row in ranges.get(CATEGORICAL) or ():
        space[row["Name"]] = Choice(tuple(read_value(row["Name"], text) for text in row["Values"]))
    return space


def read_value(key: str, text: str) -> Value:
    """Read a value as a tuning job has it, of whichever kind of range.

    Args:
        key: Configuration key, for sentences.
        text: A hyperparameter's.

    Raises:
        UserError: it cannot be read.

    Example:
        >>> [read_value("key", text) for text in ('"32"', "32", '"resnet50"', "1.0E-4", '"null"')]
        [32, 32, 'resnet50', 0.0001, None]
    """
    decoded = decode(text)
    parameter = parse_parameter(key, "null" if decoded is None else decoded)
    if not isinstance(parameter, Choice) or len(parameter.values) != 1:
        msg = f"{key}={text} is no single value."
        raise UserError(msg)
    return parameter.values[0]


def _check_name(key: str) -> None:
    if len(key) > MAX_NAME_CHARS:
        msg = f"{key[:40]}… has {len(key)} characters, and a tuned key at most {MAX_NAME_CHARS}."
        raise UserError(msg)
    if key.startswith(NOT_OVERRIDES):
        msg = f"{key}: names that start with {', '.join(NOT_OVERRIDES)} belong to the job; choose another one."
        raise UserError(msg)


def _range(key: str, parameter: Parameter, *, is_grid: bool) -> tuple[str, dict[str, Any]]:
    if isinstance(parameter, Choice):
        ends = None if is_grid else _consecutive(parameter)
        if ends is None:
            return CATEGORICAL, {"Values": _texts(key, parameter)}
        parameter = Whole(*ends)
    row = {"MinValue": repr(parameter.low), "MaxValue": repr(parameter.high), "ScalingType": SCALINGS[parameter.scale]}
    if isinstance(parameter, Real):
        return CONTINUOUS, row
    if max(abs(parameter.low), abs(parameter.high)) > MAX_WHOLE:
        msg = f"The range of {key}, {parameter_text(parameter)}: a tuning job takes whole numbers up to {MAX_WHOLE}."
        raise UserError(msg)
    return INTEGER, row


def _consecutive(choice: Choice) -> tuple[int, int] | None:
    """Return the ends of a range of whole numbers without gaps."""
    numbers = [value for value in choice.values if isinstance(value, int) and not isinstance(value, bool)]
    is_whole = choice.is_ordered and len(numbers) == len(choice.values) > 1
    if not is_whole or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    return numbers[0], numbers[-1]


def _texts(key: str, choice: Choice) -> list[str]:
    if len(choice.values) > MAX_VALUES:
        msg = (
            f"The range of {key} has {len(choice.values)} values, and a tuning job takes lists of at most "
            f"{MAX_VALUES}: use interval(…), or int(interval(…)) for whole numbers."
        )
        raise UserError(msg)
    texts = [encode(value_text(value)) for value in choice.values]
    for value, text in zip(choice.values, texts, strict=True):
        if len(text) > MAX_VALUE_CHARS:
            msg = (
                f"The range of {key}: its value {value_text(value)[:40]}… has {len(text)} characters as a "
                f"hyperparameter, and a tuning job takes at most {MAX_VALUE_CHARS}: put it into an option of a group."
            )
            raise UserError(msg)
    return texts
