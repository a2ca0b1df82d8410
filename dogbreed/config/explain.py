"""Say in one sentence what is wrong with an override, with the nearest valid names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from dogbreed.config.places import conf_dir, group_options
from dogbreed.errors import did_you_mean

# Groups to which users add nodes of their own.
_OPEN_GROUPS = ("callbacks", "logger")
_OWN_RULE = re.compile(r"diagnose\.rules\.\w+\._target_$")
_OVERRIDDEN = re.compile(r"Could not override '([^']+)'")


def explain(error: Exception, config_name: str) -> str:
    """Phrase an error of Hydra or OmegaConf for the person at the keyboard.

    Args:
        error: What composing or reading the configuration raised.
        config_name: The primary configuration, whose keys are the valid ones.

    Returns:
        One sentence, or two, that name the key and the remedy.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_option(error.missing_cfg_file, [str(option) for option in error.options or ()])
    if isinstance(error, OverrideParseException) and Path(error.override).is_dir() and config_name == "evaluate":
        return f"{error.override} is no KEY=VALUE: write run={error.override}."
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read as KEY=VALUE. A value with spaces, brackets, commas or = needs "
            "quotes of its own inside the shell's: 'KEY=\"VALUE\"'."
        )
    message = str(error)
    if ambiguous := re.search(r"Ambiguous value for argument '([^']+)'", message):
        key, _, values = ambiguous[1].partition("=")
        return f"{key}={values} gives several values: add -m to sweep over them, or write a list as {key}=[{values}]."
    if ranged := re.search(r"Sweep parameters '(.+)' requires --multirun", message):
        return f"{ranged[1]} gives several values: add -m, and hydra/sweeper=dogbreed to search an interval."
    if "does not support sweep type" in message:
        return (
            "An interval has no list of values to go through: search it, python -m dogbreed.train -m "
            "hydra/sweeper=dogbreed …, or name values, choice(1e-3, 1e-2)."
        )
    if overridden := _OVERRIDDEN.search(message):
        return _explain_key(overridden[1], config_name, message)
    if missing := re.search(r"Missing mandatory value: ([\w.]+)", message):
        return f"{missing[1]} must be given: add {missing[1]}=VALUE."
    return message.splitlines()[0]


def _explain_option(path: str, options: list[str]) -> str:
    group, _, option = path.rpartition("/")
    valid = [name for name in options if not name.startswith("_")]
    if not valid:
        return _explain_key(group or option, "train")
    guess = did_you_mean(option, valid)
    listed = f"Valid: {', '.join(sorted(valid))}."
    return f"{group}={option} does not exist. {listed if guess.startswith('Valid') else f'{guess} {listed}'}"


def _explain_key(key: str, config_name: str, message: str = "") -> str:
    group, _, name = key.partition(".")
    if (group in _OPEN_GROUPS and name) or _OWN_RULE.match(key):
        return f"{key} does not exist: to add one, put + before it, +{key}=VALUE."
    files = [conf_dir() / group / f"{option}.yaml" for option in group_options().get(group, [])]
    others = [file.stem for file in files if name and OmegaConf.select(_load(file), name) is not None]
    if others:
        return f"{key} does not exist with the chosen {group}; it does with {group}={' or '.join(others)}."
    keys = set(_flatten(_compose_default(config_name)))
    base = conf_dir() / group / "_base.yaml"
    if name and not any(known.startswith(f"{group}.") for known in keys) and base.is_file():  # nothing is chosen
        loaded = _load(base)
        keys |= set(_flatten(loaded.get(group, loaded), f"{group}."))
        if key in keys:
            return f"{key} needs a choice of {group}: add {group}=NAME, {' or '.join(group_options()[group])}."
    if key in keys:
        return message.splitlines()[0] if message else f"{key} cannot be overridden like this."
    same_end = sorted(candidate for candidate in keys if candidate.endswith(f".{key}"))
    hint = f"Did you mean {' or '.join(same_end)}?" if same_end else did_you_mean(key, _alike(key, keys))
    return f"{key} does not exist. {hint} All keys: add --cfg job.".replace("  ", " ")


def _alike(key: str, keys: set[str]) -> set[str]:
    """Prefer keys of the same group, and whole groups for a name without a dot."""
    if "." not in key:
        return {candidate.split(".")[0] for candidate in keys}
    same_group = {candidate for candidate in keys if candidate.startswith(key.split(".")[0] + ".")}
    return same_group or keys


def _load(file: Path) -> DictConfig:
    loaded = OmegaConf.load(file)
    return loaded if isinstance(loaded, DictConfig) else OmegaConf.create({})


def _compose_default(config_name: str) -> DictConfig:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(config_name)


def _flatten(node: Any, prefix: str = "") -> Iterator[str]:
    """List every key of a configuration with its dots, inner nodes included."""
    if isinstance(node, DictConfig):
        for key in node:
            name = f"{prefix}{key!s}"
            yield name
            if not OmegaConf.is_missing(node, key):
                yield from _flatten(node._get_node(key), f"{name}.")  # noqa: SLF001 -- the public getter resolves interpolations
