"""What rules about many tensors share: which were wrong for long enough, and what to say of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dogbreed.diagnosis.observations import Numbers, TensorStats
from dogbreed.diagnosis.rule import Finding

# As many layers are named as one can look at.
NAMED = 3


def lasting_ones(looks: dict[str, int], seen: TensorStats, is_wrong: Any, patience: int) -> Any:
    """Count in how many looks in a row each tensor was wrong, and say for which it was in enough of them."""
    keys = [f"{seen.kind} {name}" for name in seen.names]
    for key, wrong in zip(keys, is_wrong, strict=True):
        looks[key] = looks.get(key, 0) + 1 if wrong else 0
    return np.array([looks[key] >= patience for key in keys])


def find_some(seen: TensorStats, is_wrong: Any, what: str, values: Numbers) -> Finding | None:
    """Make a finding if anything is wrong."""
    return find_many(seen, is_wrong, 0.0, what, values)


def find_many(seen: TensorStats, is_wrong: Any, share: float, what: str, values: Numbers) -> Finding | None:
    """Make a finding if more than a percentage of the tensors is wrong."""
    names = [name for name, wrong in zip(seen.names, is_wrong, strict=True) if wrong]
    if not names or 100 * len(names) < share * len(seen.names):
        return None
    value_of = dict(zip(seen.names, (float(value) for value in values), strict=True))
    shown = ", ".join(f"{name} {value_of[name]:.2g}" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    found = {name: value_of[name] for name in names}
    return Finding(seen.step, f"{what}: {shown}{more} ({len(names)} of {len(seen.names)} tensors)", {"tensors": found})
