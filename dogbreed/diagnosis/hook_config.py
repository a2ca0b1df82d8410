"""What the smdebug hook saves and when, in the form of a SageMaker job's ``debughookconfig.json``.

Both ways of saying it come to that form: the keys of ``conf/diagnose/hook/smdebug.yaml``, and the file of a job.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError, did_you_mean

# Where smdebug itself looks.
FILE_VARIABLE, JOB_FILE = "SMDEBUG_CONFIG_FILE_PATH", "/opt/ml/input/config/debughookconfig.json"
# Where a job's trial goes that names no place.
JOB_DIR = "/opt/ml/output/tensors"
HOOK, COLLECTIONS = "HookParameters", "CollectionConfigurations"
NAME, PARAMETERS = "CollectionName", "CollectionParameters"
# smdebug knows regular expressions for these.
BUILT_IN = ("all", "biases", "default", "gradients", "losses", "weights")
REDUCTIONS = tuple(
    f"{sign}{name}"
    for sign in ("", "abs_")
    for name in ("min", "max", "mean", "std", "variance", "sum", "prod", "l1_norm", "l2_norm")
)
# Lowest value of the keys that count steps.
_STEPS = {"save_interval": 1, "eval.save_interval": 1, "start_step": 0, "end_step": 0}
_LISTS = ("save_steps", "include_regex", "reductions")
_SWITCHES = ("save_raw_tensor", "save_shape", "save_histogram")


def job_file() -> Path | None:
    """Return the file by which SageMaker configures the hook of a job; None where there is none."""
    file = Path(os.environ.get(FILE_VARIABLE, JOB_FILE))
    return file if file.is_file() or FILE_VARIABLE in os.environ else None


def read_job_file(file: Path) -> dict[str, Any]:
    """Read a job's file.

    Raises:
        UserError: it is not there, no JSON, of another form, or saves every 0 steps.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            msg = f"a mapping is expected, not {type(config).__name__}"
            raise TypeError(msg)
        parameters = {HOOK: config.get(HOOK) or {}}
        for entry in config.get(COLLECTIONS) or ():
            parameters[f"{PARAMETERS} of {entry[NAME]}"] = entry.get(PARAMETERS) or {}
        for where, own in parameters.items():
            for key, value in own.items():
                if key.endswith("save_interval") and int(value) < 1:
                    msg = f"{key}={value} in {where} must be at least 1"
                    raise ValueError(msg)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"{file} does not configure the hook of SageMaker Debugger ({reason}): write it anew, or delete it."
        raise UserError(msg) from error
    return config


def job_config(settings: Mapping[str, Any], collections: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Turn the keys of ``diagnose.hook`` into the content of such a file, without a place.

    Args:
        settings: What holds for all collections, by key.
        collections: What holds for one, by its name; None leaves it out.

    Raises:
        UserError: a key or a value is not one of smdebug's.
    """
    chosen = []
    for name, own in collections.items():
        if own is None:
            continue
        key = f"diagnose.hook.collections.{name}"
        if name not in BUILT_IN and not own.get("include_regex"):
            msg = f"{key} needs include_regex, unless it is one of smdebug's own: {', '.join(BUILT_IN)}."
            raise UserError(msg)
        chosen.append({NAME: name, PARAMETERS: dict(_parameters(own, key))})
    switches = {key: settings[key] for key in ("save_all", "export_tensorboard")}
    more = {key: value for key, value in settings.items() if key not in switches}
    return {HOOK: dict(_parameters(more, "diagnose.hook")) | switches, COLLECTIONS: chosen}


def _parameters(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        key = "eval.save_interval" if name == "eval_save_interval" else name
        if key not in (*_STEPS, *_LISTS, *_SWITCHES):
            msg = f"{prefix}.{name} does not exist. {did_you_mean(name, [*_STEPS, *_LISTS, *_SWITCHES])}".strip()
            raise UserError(msg)
        if value is None:
            continue
        _check(f"{prefix}.{name}", key, value)
        yield key, ",".join(map(str, value)) if key in _LISTS else value


def _check(name: str, key: str, value: Any) -> None:
    least = _STEPS.get(key)
    if least is not None and (not isinstance(value, int) or value < least):
        msg = f"{name}={value} must be a whole number of steps, at least {least}."
        raise UserError(msg)
    if key in _SWITCHES and not isinstance(value, bool):
        msg = f"{name}={value} must be true or false."
        raise UserError(msg)
    if key not in _LISTS:
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"{name}={value} must be a list."
        raise UserError(msg)
    for item in value:
        if key == "save_steps" and (not isinstance(item, int) or item < 0):
            msg = f"{name}={value} must be whole numbers of steps, from 0."
            raise UserError(msg)
        if key == "reductions" and item not in REDUCTIONS:
            msg = f"{name} knows no {item}. Valid: {', '.join(REDUCTIONS[:9])}, each with abs_ before it, too."
            raise UserError(msg)
        if key == "include_regex":
            _check_expression(name, str(item))


def _check_expression(name: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        msg = f"{name} holds {expression}, which is no regular expression: {error}."
        raise UserError(msg) from error
    if "," in expression:
        msg = f"{name} holds {expression}: smdebug splits at commas, so give two expressions without one."
        raise UserError(msg)
