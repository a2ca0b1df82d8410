"""The values that a tuning job tries: a grid in order, anything else drawn from its ranges."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any


def chosen_values(config: Mapping[str, Any], name: str) -> Iterator[dict[str, str]]:
    """Choose values for one training job after the other, as texts.

    Args:
        config: HyperParameterTuningJobConfig.
        name: Of the tuning job, from which chance comes where there is no seed.

    Yields:
        Name to text: a grid in order, the last parameter fastest; anything else at random, without end.
    """
    ranges = config.get("ParameterRanges") or {}
    lists = {row["Name"]: row["Values"] for row in ranges.get("CategoricalParameterRanges") or ()}
    if config["Strategy"] == "Grid":
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))
        return
    dice = random.Random(config.get("RandomSeed", name))
    while True:
        chosen = {key: dice.choice(values) for key, values in lists.items()}
        for row in ranges.get("ContinuousParameterRanges") or ():
            low, high = float(row["MinValue"]), float(row["MaxValue"])
            chosen[row["Name"]] = _java_text(_between(dice, low, high, row.get("ScalingType")))
        for row in ranges.get("IntegerParameterRanges") or ():
            low, high = int(row["MinValue"]), int(row["MaxValue"])
            value = round(_between(dice, low - 0.499, high + 0.499, row.get("ScalingType")))
            chosen[row["Name"]] = str(min(max(value, low), high))
        yield chosen


def _between(dice: random.Random, low: float, high: float, scaling: str | None) -> float:
    if scaling == "Logarithmic":
        value = math.exp(dice.uniform(math.log(low), math.log(high)))
    elif scaling == "ReverseLogarithmic":
        value = 1 - math.exp(dice.uniform(math.log(1 - high), math.log(1 - low)))
    else:
        value = dice.uniform(low, high)
    return min(max(value, low), high)


def _java_text(value: float) -> str:
    """Write a number as SageMaker does, whose texts are Java's: 1.0E-4."""
    mantissa, exponent, digits = repr(value).partition("e")
    if not exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(digits)}"
