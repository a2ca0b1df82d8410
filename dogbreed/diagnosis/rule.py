"""What a rule is: it looks at numbers of a run and says when something is wrong.

Rules know no trainer, no tensor and no device, so that the same one watches a run that is going on, one that is over,
and a recording. Names and parameters are those of SageMaker Debugger's built-in rules, whose documentation applies,
unless a docstring says otherwise.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from dogbreed.diagnosis.observations import Observation, Setting
from dogbreed.errors import UserError


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        step: Optimiser steps that were done when it was seen.
        evidence: One clause with what was measured, where.
        values: The numbers in it, for programs.
    """

    step: int
    evidence: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Rule(ABC):
    """Looks at what it is shown, in the order in which it happened.

    A subclass is a dataclass whose fields are its parameters; the names of what it remembers begin with an underscore.
    """

    # What to do about it; names the key to change.
    advice: ClassVar[str] = ""
    needs_gpu: ClassVar[bool] = False
    # What it finds explains why a network learns nothing, if it does not (`dogbreed.diagnosis.lost`).
    means_lost: ClassVar[bool] = False

    @abstractmethod
    def look(self, seen: Observation) -> Finding | None:
        """Take in one observation, of any kind; say what is wrong, if it shows."""

    def skipped_because(self, setting: Setting) -> str:
        """Say why the rule has nothing to look at in such a run; nothing where it has."""
        return "there is no GPU" if self.needs_gpu and setting.accelerator != "cuda" else ""

    def state(self) -> dict[str, Any]:
        """Return what the rule remembers, as far as it is plain: that is all that checkpoints hold."""
        remembered = {name: value for name, value in vars(self).items() if name.startswith("_")}
        return {name: plain(value) for name, value in remembered.items() if is_plain(value)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what it remembered."""
        vars(self).update(plain(state))

    def _require(self, **bounds: tuple[float, float]) -> None:
        """Refuse parameters that are out of range.

        Args:
            bounds: Lowest and highest value of parameters, by name.

        Raises:
            UserError: names the key and what it may be.
        """
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                bounds_words = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                msg = f"diagnose.rules.{rule_name(type(self))}.{name}={value} must be {bounds_words}."
                raise UserError(msg)


def is_plain(value: Any) -> bool:
    """Say whether a value is made of numbers, texts, lists and mappings."""
    if isinstance(value, Mapping):
        return all(isinstance(key, (str, int)) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, int, float))


def plain(value: Any) -> Any:
    """Copy a plain value."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, float) else value  # NumPy's are floats, too


def rule_name(kind: type[Rule]) -> str:
    """Return the name of a rule in configurations and reports.

    Example:
        >>> class DeadRelu(Rule): ...
        >>> rule_name(DeadRelu)
        'dead_relu'
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*", kind.__name__)
    return "_".join(words).lower()


def parameters_of(rule: Rule) -> dict[str, Any]:
    """Return a rule's parameters, by name."""
    return {entry.name: getattr(rule, entry.name) for entry in fields(rule) if not entry.name.startswith("_")}
