"""A run's overrides as hyperparameters of a job, and back, without loss.

An override is one hyperparameter: its key, with what stands before it (``+``, ``~``), is the name, and the raw text
right of ``=`` as a JSON string the value, so that the container's own ``json.loads`` gives back that very text. The
value of ``~key`` without ``=`` is ``null``.

The container's toolkit (sagemaker-training 5.1.1) also puts every hyperparameter on the entry script's command line and
has a shell run that: a text that a shell would touch, ``${oc.env:SM_CHANNEL_DATA}`` say, travels as ``{"base64": …}``.

A mapping has no order, and to Hydra order matters (``+a={b: 1} a.b=2``): the hyperparameter ``dogbreed_order`` names
the names in their order. What a tuning job adds comes last, so that it overrides.

This module travels with the job's code: it imports nothing but errors and, for reading overrides, Hydra.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Limits of CreateTrainingJob: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
MAX_HYPERPARAMETERS = 100
MAX_NAME_CHARS = 256
MAX_VALUE_CHARS = 2500

ORDER = "dogbreed_order"
# Hyperparameters of the container's own, of ours for the record, and of tuning jobs.
NOT_OVERRIDES = ("sagemaker_", "dogbreed_", "_tuning_")

# What no shell gives a meaning to, wherever it stands.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_CODED = "base64"


def job_overrides(overrides: Sequence[str]) -> list[str]:
    """Return what of a command line a job composes its configuration from.

    ``hydra.*`` and values of ``launch`` are ours here; the choice ``launch=NAME`` goes along, since it binds keys of
    the run, too.

    Args:
        overrides: As typed, without options such as ``-m``.

    Raises:
        UserError: one cannot be read, or gives several values.
    """
    kept = []
    for override in _parse(overrides):
        assert override.input_line is not None
        if not _stays_here(override):
            kept.append(override.input_line)
    return kept


def to_hyperparameters(overrides: Sequence[str]) -> dict[str, str]:
    """Turn overrides into hyperparameters.

    Args:
        overrides: As typed; those that are no matter of the job's are left out.

    Returns:
        Names to JSON texts, in the order of the overrides, and `ORDER`.

    Raises:
        UserError: an override cannot be read, gives several values, is too long, or there are too many.
    """
    found: dict[str, str] = {}
    mappings = set()
    for override in _parse(overrides):
        if _stays_here(override):
            continue
        assert override.input_line is not None
        name, equals, text = override.input_line.partition("=")
        if name.startswith(NOT_OVERRIDES):
            msg = f"{name}: names that start with {', '.join(NOT_OVERRIDES)} belong to the job; choose another one."
            raise UserError(msg)
        is_mapping = bool(equals) and isinstance(override.value(), dict)
        if name in found and (is_mapping or name in mappings):
            msg = f"{name} is given twice with mappings, and a job takes a key once: write one, {name}={{…}}."
            raise UserError(msg)
        if is_mapping:
            mappings.add(name)
        found.pop(name, None)  # the last one counts, at its place
        found[name] = encode(text) if equals else "null"
    if found:
        found[ORDER] = json.dumps(" ".join(found))
    check_hyperparameters(found)
    return found


def from_hyperparameters(hyperparameters: Mapping[str, str]) -> list[str]:
    """Turn hyperparameters back into overrides.

    Args:
        hyperparameters: Names to texts as the API has them: ``/opt/ml/input/config/hyperparameters.json``, not what
            the container has decoded from it. A text that is no JSON string, as a tuning job writes its values, is
            taken as it is.
    """
    order = decode(hyperparameters.get(ORDER)) or ""
    places = {name: place for place, name in enumerate(order.split(" "))}
    names = [name for name in hyperparameters if not name.startswith(NOT_OVERRIDES)]
    names.sort(key=lambda name: (places.get(name, len(places)), name))
    overrides = []
    for name in names:
        text = decode(hyperparameters[name])
        overrides.append(name if text is None else f"{name}={text}")
    return overrides


def check_hyperparameters(hyperparameters: Mapping[str, str]) -> None:
    """Refuse what the API would refuse.

    Raises:
        UserError: too many, or a name or a value is too long.
    """
    if len(hyperparameters) > MAX_HYPERPARAMETERS:
        msg = (
            f"{len(hyperparameters)} hyperparameters, our own among them, are more than the {MAX_HYPERPARAMETERS} that "
            "a job takes: put some overrides into a YAML file, conf/experiment/NAME.yaml, and use experiment=NAME."
        )
        raise UserError(msg)
    for name, value in hyperparameters.items():
        if len(name) > MAX_NAME_CHARS:
            msg = f"{name[:40]}… has {len(name)} characters, and the name of a hyperparameter at most {MAX_NAME_CHARS}."
            raise UserError(msg)
        if len(value) > MAX_VALUE_CHARS:
            what = "the list of all overrides' names" if name == ORDER else f"{name} as a hyperparameter"
            msg = (
                f"{what} has {len(value)} characters, and a job takes at most {MAX_VALUE_CHARS}: put it into a YAML "
                "file, conf/experiment/NAME.yaml, and use experiment=NAME."
            )
            raise UserError(msg)


def replace_override(overrides: Sequence[str], key: str, text: str) -> list[str]:
    """Return overrides in which ``key`` has another value, whatever set it before.

    Args:
        overrides: They stay as they are.
        key: Dotted, one that exists.
        text: Right of ``=``, in Hydra's grammar.
    """
    kept = [override for override in overrides if override.partition("=")[0].lstrip("+~") != key]
    return [*kept, f"{key}={text}"]


def encode(text: str) -> str:
    """Return a hyperparameter's text: JSON that a shell leaves alone when the toolkit has made an argument of it.

    Args:
        text: Right of ``=``, in Hydra's grammar.
    """
    plain = _PLAIN.fullmatch(text)
    return json.dumps(
        text if plain else {_CODED: base64.urlsafe_b64encode(text.encode(errors="surrogateescape")).decode()}
    )


def decode(text: str | None) -> str | None:
    """Return what is right of ``=``: the text in a JSON string or a coded one, None for null, anything else as it is.

    Args:
        text: A hyperparameter's, as the API has it.
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and set(value) == {_CODED}:
        try:
            return base64.b64decode(value[_CODED], altchars=b"-_", validate=True).decode(errors="surrogateescape")
        except (TypeError, binascii.Error):  # none of ours
            return text
    return value if value is None or isinstance(value, str) else text


def _parse(overrides: Sequence[str]) -> list[Override]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from dogbreed.config.explain import explain

    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except HydraException as error:
            raise UserError(explain(error, "train")) from error
        if override.is_sweep_override():
            msg = (
                f"{text} gives several values, and a launch is one run: give one, or ship a sweep with "
                "python -m dogbreed.train -m hydra/launcher=sagemaker …"
            )
            raise UserError(msg)
        parsed.append(override)
    return parsed


def _stays_here(override: Override) -> bool:
    key = override.key_or_group
    is_launch_mapping = key == "launch" and isinstance(override.value(), dict)
    return override.is_hydra_override() or key.startswith("launch.") or is_launch_mapping
