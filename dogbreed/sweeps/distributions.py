"""The search space in Optuna's words, and back: pure functions.

Values of a choice keep their types. Optuna looks values up by ``==``, for which 1, 1.0 and True are the same: where a
list holds such twins, or texts that could be taken for their stand-ins, the study holds texts that begin with ``=``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

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
    parameter_text,
    parse_parameter,
    value_text,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

MARK = "="


def to_distributions(space: Space) -> dict[str, BaseDistribution]:
    """Write a search space as Optuna has it.

    Raises:
        UserError: as `to_distribution`.
    """
    return {key: to_distribution(key, parameter) for key, parameter in space.items()}


def to_distribution(key: str, parameter: Parameter) -> BaseDistribution:
    """Write one parameter as Optuna has it.

    Args:
        key: Configuration key, for the sentence.
        parameter: What is searched.

    Raises:
        UserError: it is an interval with a reversed logarithmic scale, which Optuna has not.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choice):
        stepped = _stepped(parameter)
        return stepped or CategoricalDistribution([_stand_in(parameter, value) for value in parameter.values])
    if parameter.scale == REVERSE_LOG:
        msg = (
            f"The range of {key}, {parameter_text(parameter)}: Optuna knows no reversed logarithmic scale; search "
            f"over the distance from 1 with tag(log, …), or make a SageMaker tuning job, python -m launch.tune."
        )
        raise UserError(msg)
    is_log = parameter.scale == LOG
    if isinstance(parameter, Whole):
        return IntDistribution(parameter.low, parameter.high, log=is_log)
    return FloatDistribution(parameter.low, parameter.high, log=is_log)


def from_distribution(distribution: BaseDistribution) -> Parameter:
    """Read what `to_distribution` has written; the same parameter comes back.

    But for ranges: those with steps of 1 are the interval that holds the same values, and those whose steps differ in
    the last digit have lost their order.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        if all(isinstance(choice, str) and choice.startswith(MARK) for choice in choices):
            return Choice(tuple(_unmarked(str(choice)) for choice in choices))
        return Choice(tuple(choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    scale = LOG if distribution.log else LINEAR
    if isinstance(distribution, IntDistribution):
        if distribution.step == 1:
            return Whole(distribution.low, distribution.high, scale)
        return Choice(tuple(range(distribution.low, distribution.high + 1, distribution.step)), is_ordered=True)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        return Real(low, high, scale)
    count = int((Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))) + 1
    values = (float(Decimal(str(low)) + number * Decimal(str(step))) for number in range(count))
    return Choice(tuple(values), is_ordered=True)


def value_of(parameter: Parameter, proposed: Any) -> Value:
    """Return the value that a proposal of Optuna means.

    Args:
        parameter: What it was proposed for.
        proposed: One of `to_distribution`'s values: of stepped numbers, the nearest that the list holds counts.
    """
    if isinstance(parameter, Whole):
        return int(proposed)
    if isinstance(parameter, Real):
        return float(proposed)
    if _stepped(parameter):
        return min(parameter.values, key=lambda value: abs(_number(value) - float(proposed)))
    # By type, too: databases give back what JSON holds, and 1 == True.
    for value in parameter.values:
        stand_in = _stand_in(parameter, value)
        if type(stand_in) is type(proposed) and stand_in == proposed:
            return value
    msg = f"{proposed!r} is none of {parameter_text(parameter)}"
    raise ValueError(msg)


def proposal_of(parameter: Parameter, value: Value) -> Any:
    """Return what Optuna calls a value; the inverse of `value_of`.

    Raises:
        ValueError: the parameter does not hold the value.
    """
    if isinstance(parameter, Choice):
        same = [one for one in parameter.values if value_text(one) == value_text(value)]
        for one in same or [one for one in parameter.values if _is_same_number(one, value)]:
            return one if _stepped(parameter) else _stand_in(parameter, one)
        msg = f"{value!r} is none of {parameter_text(parameter)}"
        raise ValueError(msg)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not parameter.low <= _number(value) <= parameter.high:
        msg = f"{value!r} is not in {parameter_text(parameter)}"
        raise ValueError(msg)
    if isinstance(parameter, Whole):
        if _number(value) != int(_number(value)):
            msg = f"{value!r} is no whole number"
            raise ValueError(msg)
        return int(_number(value))
    return _number(value)


def values_of(space: Space, proposed: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values that a trial of the study has, in the space's order; without those that it has not."""
    return {key: value_of(parameter, proposed[key]) for key, parameter in space.items() if key in proposed}


def num_combinations(space: Space) -> int | None:
    """Count the points of a space; None if it has no end of them."""
    count = 1
    for parameter in space.values():
        if isinstance(parameter, Real):
            return None
        count *= len(parameter.values) if isinstance(parameter, Choice) else parameter.high - parameter.low + 1
    return count


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Have a trial propose a value for one parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def _stepped(choice: Choice) -> BaseDistribution | None:
    """Write a range as numbers with an order; None if it is no arithmetic one, to the last digit."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not choice.is_ordered or len(choice.values) < 2:
        return None
    values = sorted(_number(value) for value in choice.values)
    exact = [Decimal(str(value)) for value in values]
    step = exact[1] - exact[0]
    if any(exact[0] + number * step != value for number, value in enumerate(exact)):
        return None
    if all(isinstance(value, int) for value in choice.values):
        return IntDistribution(int(values[0]), int(values[-1]), step=int(step))
    return FloatDistribution(values[0], values[-1], step=float(step))


def _stand_in(choice: Choice, value: Value) -> Value:
    values = choice.values
    has_twins = any(one == other for place, one in enumerate(values) for other in values[:place])
    has_marks = any(isinstance(one, str) and one.startswith(MARK) for one in values)
    has_odd = any(isinstance(one, float) and not math.isfinite(one) for one in values)  # which JSON has not
    return MARK + value_text(value) if has_twins or has_marks or has_odd else value


def _unmarked(text: str) -> Value:
    parameter = parse_parameter("value", text.removeprefix(MARK))
    assert isinstance(parameter, Choice)
    return parameter.values[0]


def _is_same_number(one: Value, other: Value) -> bool:
    """Say whether 32 and 32.0, or 0.001 and 1e-3, are meant; true and false are no numbers."""
    numbers = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == 2 and numbers[0] == numbers[1]


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return value
