"""What can be read from source files without running them: texts with their places to fill, docstrings, arguments."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


@cache
def tree(file: Path) -> ast.Module:
    """Parse a file, once."""
    return ast.parse(file.read_text(encoding="utf-8"))


def template(node: ast.expr) -> str:
    """Return a text expression with … where a value stands."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else "…"
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "strip":
        return template(node.func.value).strip()
    return "…"


@cache
def arguments(target: str) -> dict[str, str]:
    """Return what the docstring of ``package.module.name`` says of each argument; empty where it is not ours."""
    found = _definition(*target.rpartition(".")[::2])
    text = ast.get_docstring(found) if found is not None else None
    if not text or "Args:" not in text:
        return {}
    block = re.split(r"\n(?=\S)", inspect.cleandoc(text).split("Args:\n", 1)[1])[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", block, flags=re.M)
    return {name: " ".join(meaning.split()).replace("``", "`") for name, meaning in entries}


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    place = TOP.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.is_file():
        return None
    for node in ast.walk(tree(file)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return _definition(node.module, name)
    return None
