"""Hold configuration values against the annotations of what they configure."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What may be written in YAML; whatever else an annotation names is not judged here.
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
    type(None): "null",
}


def check_types(cfg: DictConfig, hints: Mapping[str, Any], auto_keys: Container[str] = ()) -> None:
    """Refuse a value that its key cannot take, before it fails somewhere deep.

    Args:
        cfg: A configuration without interpolations; its nodes with ``_target_`` are
            checked against the signatures that they name.
        hints: Annotations of other keys, by dotted name.
        auto_keys: Dotted names of the keys that may also be ``auto``.

    Raises:
        UserError: names the key, its value and what it takes.
    """
    from omegaconf import DictConfig, OmegaConf

    def check(node: DictConfig, prefix: str) -> None:
        own = _hints_of(node._target_) if "_target_" in node else {}
        for key, value in node.items():
            name = f"{prefix}{key!s}"
            hint = hints.get(name, own.get(str(key), Any))
            if isinstance(value, DictConfig) and ("_target_" in value or hint is Any):
                check(value, f"{name}.")
            elif value != "auto" or name not in auto_keys:
                plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
                if not _fits(plain, hint):
                    msg = f"{name}={_as_yaml(plain)} must be {_describe(hint)}."
                    raise UserError(msg)

    check(cfg, "")


def _hints_of(target: str) -> dict[str, Any]:
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
        return typing.get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except (ImportError, AttributeError, ValueError, NameError, TypeError):
        return {}  # a user's own target: building it says what is wrong


def _options(hint: Any) -> list[Any]:
    """Take a union apart."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [option for member in typing.get_args(hint) for option in _options(member)]
    return [hint]


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_option(value, option) for option in _options(hint))


def _fits_option(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin not in _WORDS:
        return True
    if origin in (Mapping, dict):
        return isinstance(value, Mapping)
    if origin in (Sequence, list, tuple):
        return isinstance(value, (list, tuple)) and _items_fit(value, typing.get_args(hint))
    if origin in (int, float) and isinstance(value, bool):
        return False
    accepted = {float: (int, float), Path: (str, Path)}.get(origin, origin)
    return isinstance(value, accepted)


def _items_fit(values: Sequence[Any], hints: tuple[Any, ...]) -> bool:
    if len(hints) > 1 and hints[-1] is not Ellipsis:  # tuple[float, float]
        return len(values) == len(hints) and all(map(_fits, values, hints))
    return all(_fits(value, hints[0]) for value in values) if hints else True


def _describe(hint: Any) -> str:
    options = _options(hint)
    words = [_describe_option(option) for option in options]
    if float in options:
        words = [word for word in words if word != _WORDS[int]]
    literals = [str(value) for option in options if typing.get_origin(option) is Literal for value in option.__args__]
    if literals:
        words.insert(0, f"one of {', '.join(dict.fromkeys(literals))}")
    return " or ".join(dict.fromkeys(filter(None, words)))


def _describe_option(hint: Any) -> str:
    word = _WORDS.get(typing.get_origin(hint) or hint, "")
    items = [_WORDS.get(item, "") for item in typing.get_args(hint) if item is not Ellipsis]
    if word != "a list" or not items or not items[0]:
        return word
    return f"a list of {len(items) if len(items) > 1 else ''} {items[0].split()[-1]}s".replace("  ", " ")


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
