"""YAML files with the comments above their keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Key:
    """A key that holds a value, as its file has it.

    Args:
        path: From the file's top, with dots.
        value: As written.
        comment: In one line; empty where there is none.
        targets: What the mappings around it build (``_target_``), the innermost first, with the path of each.
    """

    path: str
    value: str
    comment: str
    targets: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CommentedFile:
    """A file of ``conf/``.

    Args:
        head: The first line of its first comment, without ``@package``.
        more: The other lines of it, in one.
        package: What ``@package`` says; empty where it says nothing.
        keys: All keys that hold a value, in order.
        notes: The comments of keys that hold mappings, by path.
    """

    head: str
    more: str
    package: str
    keys: tuple[Key, ...]
    notes: dict[str, str]


def read(file: Path) -> CommentedFile:
    """Read a file."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    package = next((line.split()[1] for line in head if line.startswith("@package")), "")
    said = [line for line in head if not line.startswith("@package")]
    node = yaml.compose(text)
    notes: dict[str, str] = {}
    keys = tuple(_keys(node, "", (), lines, text, notes)) if isinstance(node, yaml.MappingNode) else ()
    return CommentedFile(said[0] if said else "", " ".join(said[1:]), package, keys, notes)


def _keys(
    node: yaml.MappingNode,
    path: str,
    targets: tuple[tuple[str, str], ...],
    lines: list[str],
    text: str,
    notes: dict[str, str],
) -> Iterator[Key]:
    built = [value.value for key, value in node.value if key.value == "_target_"]
    targets = (*((path, name) for name in built), *targets)
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else str(key.value)
        comment = _comment_above(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value:
            notes[here] = comment
            yield from _keys(value, here, targets, lines, text, notes)
        elif here != "defaults":
            yield Key(here, text[value.start_mark.index : value.end_mark.index].strip(), comment, targets)


def _comment_above(lines: list[str], line: int) -> str:
    indentation = re.match(r" *", lines[line])[0]  # type: ignore[index]
    found: list[str] = []
    while line > 0 and lines[line - 1].startswith(f"{indentation}#"):
        line -= 1
        # What stands at the top is about the file.
        found.insert(0, lines[line].strip().removeprefix("#").strip())
    return "" if line == 0 else " ".join(found)
