"""Every sentence that ends a command with exit code 2, from the code that raises it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from docs.strings import TOP, template, tree

# Which sentences are about what: the first beginning that fits a file's path.
TOPICS = {
    "dogbreed/config": "Configuration",
    "dogbreed/command": "Configuration",
    "dogbreed/train": "Configuration",
    "dogbreed/data": "Pictures",
    "dogbreed/pack": "Pictures",
    "dogbreed/cache": "Pictures",
    "dogbreed/download": "Pictures",
    "dogbreed/nets": "Network and training",
    "dogbreed/classifier": "Network and training",
    "dogbreed/architectures": "Network and training",
    "dogbreed/fit": "A run, going on, several devices",
    "dogbreed/distributed": "A run, going on, several devices",
    "dogbreed/lock": "A run, going on, several devices",
    "dogbreed/files": "A run, going on, several devices",
    "dogbreed/diagnosis": "Diagnosis",
    "dogbreed/sweeps": "Sweeps",
    "plugins": "Sweeps",
    "dogbreed": "Trained models and reports",
    "launch/tuning": "Tuning jobs",
    "launch/aws": "AWS account, bucket, region",
    "launch/container": "Inside a job",
    "launch/toolkit": "Training toolkit and stand-in",
    "launch/standin": "Training toolkit and stand-in",
    "launch/local": "Training toolkit and stand-in",
    "launch": "Jobs: request, data, cost",
}
# Exceptions of ours that are sentences for a user.
KINDS = ("UserError", "FinalError", "LostError", "LockedError", "GoneError", "UnknownJobError", "ArgumentTypeError")

_BEGINNING = """\
# All error sentences

What a command says when it ends with exit code 2: one sentence that names the file, key or value, and the remedy.
This page is written from the code. `…` stands for a value. The most frequent ones are explained in
[](troubleshooting.md).
"""


def page() -> str:
    """Write the page's source: sentences by topic, each once."""
    by_topic: dict[str, set[str]] = {topic: set() for topic in TOPICS.values()}
    for file, sentence in raised():
        # A text that is all value, or was put together elsewhere, says nothing here.
        if sum(letter.isalpha() for letter in sentence) > 12:
            topic = next(topic for start, topic in TOPICS.items() if file.startswith(start))
            by_topic[topic].add(" ".join(sentence.split()))
    parts = [_BEGINNING]
    for topic, found in by_topic.items():
        if found:
            parts.append(f"## {topic}\n")
            parts.append("\n".join(f"- `` {sentence} ``" for sentence in sorted(found, key=str.casefold)) + "\n")
    return "\n".join(parts)


@cache
def raised() -> tuple[tuple[str, str], ...]:
    """Return file and sentence of each place that raises one."""
    return tuple(
        (file.relative_to(TOP).as_posix(), sentence) for file in _sources() for sentence in _raised_in(tree(file))
    )


@cache
def texts() -> frozenset[str]:
    """Return every text of the code, with … where values stand."""
    nodes = (node for file in _sources() for node in ast.walk(tree(file)))
    return frozenset(template(node) for node in nodes if isinstance(node, (ast.JoinedStr, ast.Constant)))


def _sources() -> Iterator[Path]:
    for top in ("dogbreed", "launch", "plugins"):
        yield from sorted((TOP / top).rglob("*.py"))


def _raised_in(module: ast.Module) -> Iterator[str]:
    nodes = list(ast.walk(module))
    assigned = [
        (node.lineno, node.targets[0].id, node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    for call in nodes:
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KINDS and call.args):
            continue
        said = call.args[0]
        if isinstance(said, ast.Name):  # msg = f"…"; raise UserError(msg)
            before = [(line, value) for line, name, value in assigned if name == said.id and line <= call.lineno]
            said = max(before, key=lambda pair: pair[0])[1] if before else said
        yield from _variants(said)


def _variants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _variants(node.body)
        yield from _variants(node.orelse)
    else:
        yield template(node)
