"""The library's reference: which names and modules are shown; Sphinx reads their docstrings."""

from __future__ import annotations

import dogbreed

_BEGINNING = """\
# Library

What scripts of your own import. `from dogbreed import …` has all of the first part; a name is loaded on first use.
The command line has its own help, `python -m dogbreed.train --help`.
"""
# What rules of one's own are made of.
_RULES = ("dogbreed.diagnosis.rule", "dogbreed.diagnosis.observations", "dogbreed.diagnosis.rules")


def page() -> str:
    """Write the page's source."""
    parts = [_BEGINNING, "## Public names\n"]
    for name in dogbreed.__all__:
        home = dogbreed._HOMES[name]  # noqa: SLF001
        kind = "autofunction" if name.islower() else "autoclass"
        kind = "autoexception" if name.endswith("Error") else kind
        options = "" if kind == "autofunction" else ":members:\n"
        parts.append(f"### {name}\n\n```{{eval-rst}}\n.. {kind}:: {home}.{name}\n   {options}```\n")
    parts.append("## Rules of your own\n\nHow one is written: [](rule.md).\n")
    for module in _RULES:
        options = ":members:\n   :imported-members:\n" if module.endswith(".rules") else ":members:\n"
        parts.append(f"### {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   {options}```\n")
    return "\n".join(parts)
