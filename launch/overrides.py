"""Overrides of Hydra as hyperparameters of a job, and back, without loss.

The toolkit in Amazon's containers (sagemaker-training 5.1.1) puts every hyperparameter on the command line of the
entry script and has a shell run it. A value that a shell would touch travels as base64.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# What is the toolkit's, SageMaker's and our own, and no override.
_RESERVED = ("sagemaker_", "dogbreed_", "_tuning_")
# What no shell gives a meaning to.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_CODED = "base64"


def to_hyperparameters(overrides: Sequence[str]) -> dict[str, str]:
    """Turn ``key=value`` texts into hyperparameters.

    Example:
        >>> to_hyperparameters(["optim.lr=1e-3"])
        {'optim.lr': '"1e-3"'}
    """
    pairs = (override.partition("=")[::2] for override in overrides)
    return {key: json.dumps(value if _PLAIN.fullmatch(value) else _coded(value)) for key, value in pairs}


def from_hyperparameters(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Turn a job's hyperparameters, as the toolkit has read them (``SM_HPS``), into ``key=value`` texts.

    Example:
        >>> from_hyperparameters({"optim.lr": 0.0123, "sagemaker_program": "sm_entry.py", "model": "resnet50"})
        ['optim.lr=0.0123', 'model=resnet50']
        >>> from_hyperparameters({"data.root": {"base64": "JHtvYy5lbnY6WH0="}})
        ['data.root=${oc.env:X}']
    """
    return [f"{name}={_decoded(value)}" for name, value in hyperparameters.items() if not name.startswith(_RESERVED)]


def _coded(text: str) -> dict[str, str]:
    return {_CODED: base64.urlsafe_b64encode(text.encode()).decode()}


def _decoded(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {_CODED}:
        return base64.urlsafe_b64decode(value[_CODED]).decode()
    return value if isinstance(value, str) else json.dumps(value)
