"""The pages of the site: those of this folder, README's beginning, and those that are written from the code."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from docs import configuration, reference, sentences

DOCS = Path(__file__).resolve().parent
TOP = DOCS.parent

# What stands where; a page that is not named here stands at the end.
NAVIGATION = {
    "First steps": ("train", "data", "recipes", "sweeps", "launch"),
    "As it ran": tuple(
        f"notebooks/{name}" for name in ("01_train_and_understand", "02_sweep_and_retrain", "03_sagemaker")
    ),
    "Use a model": (
        "serving",
        "serving_app",
        "serving_page",
        "serving_export",
        "serving_deploy",
        "serving_ray",
        "serving_handler",
    ),
    "How to": ("backbone", "rule", "offline", "spot", "devices", "cost"),
    "Understand": ("diagnosis", "speed", "measured", "experiments", "architecture"),
    "Look up": ("troubleshooting", "sentences", "configuration", "reference"),
    "Take part": ("contributing", "changelog"),
}
# Pages whose place in the checkout is another, or that are written from what is there.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "conf": "configuration.md",
    "docs/sentences.py": "sentences.md",
    "dogbreed/__init__.py": "reference.md",
    "dogbreed/diagnosis/observations.py": "reference.md#dogbreed-diagnosis-observations",
}

_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"^(```.*?^```\s*$)", flags=re.M | re.S)
_DRAWING = re.compile(r"^!\[[^\]]*\]\((\S+\.svg)\)$", flags=re.M)


def gather(folder: Path) -> None:
    """Write the source of every page into a folder."""
    pages = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    for name, path in pages.items():
        _write(folder / name, _prepared(path, folder / name))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        _write(folder / ELSEWHERE[name], _prepared(TOP / name, folder / ELSEWHERE[name]))
    for path in sorted(DOCS.rglob("*")):
        if path.suffix in (".svg", ".png", ".jpg", ".webp"):
            (folder / path.relative_to(DOCS)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(DOCS))
    written = {**configuration.pages(), "sentences.md": sentences.page(), "reference.md": reference.page()}
    for name, text in written.items():
        _write(folder / name, text)
    beginning = _relinked(_beginning(), TOP / "README.md", folder / "index.md", folder)
    there = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")}
    _write(folder / "index.md", beginning + _contents(there) + _navigation(there))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _beginning() -> str:
    """Take README up to its second heading."""
    parts = re.split(r"^(?=## )", (TOP / "README.md").read_text(encoding="utf-8"), maxsplit=1, flags=re.M)
    return parts[0]


def _prepared(path: Path, target: Path) -> str:
    text = path.read_text(encoding="utf-8")
    # A drawing becomes part of the page, so that its colours follow the theme.
    text = _DRAWING.sub(lambda found: _inline((path.parent / found[1]).read_text(encoding="utf-8")), text)
    folder = target.parents[len(path.relative_to(DOCS).parts) - 1] if path.is_relative_to(DOCS) else target.parent
    return _relinked(text, path, target, folder)


def _inline(drawing: str) -> str:
    lines = "\n".join(line for line in drawing.splitlines() if line.strip())
    return f'<div class="drawing">\n{lines}\n</div>'


def _relinked(text: str, source: Path, target: Path, folder: Path) -> str:
    """Lead links to where pages stand in the site; a file of the checkout that is no page is named as one."""

    def moved(found: re.Match[str]) -> str:
        before, address, after = found.groups()
        if ":" in address:
            return found[0]
        path = (source.parent / address).resolve()
        name = ELSEWHERE.get(os.path.relpath(path, TOP))
        if name is None and path.is_relative_to(DOCS):
            name = path.relative_to(DOCS).as_posix()
        if name is not None:
            return f"{before}{os.path.relpath(folder / name, target.parent)}{after}"
        if path.exists() and not before.startswith("!"):
            return f"{before[1:-2]} (`{os.path.relpath(path, TOP)}`)"
        return found[0]  # which Sphinx refuses

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in parts)


def _groups(there: set[str]) -> dict[str, list[str]]:
    groups = {name: [page for page in pages if page in there] for name, pages in NAVIGATION.items()}
    named = {page for pages in groups.values() for page in pages} | {"index"}
    groups["More"] = sorted(page for page in there - named if not page.startswith("configuration/"))
    return {name: pages for name, pages in groups.items() if pages}


def _contents(there: set[str]) -> str:
    lines = ["\n## Pages\n"]
    for name, pages in _groups(there).items():
        lines += [f"**{name}.** " + " · ".join(f"[](/{page}.md)" for page in pages) + "\n"]
    return "\n".join(lines)


def _navigation(there: set[str]) -> str:
    trees = []
    for name, pages in _groups(there).items():
        listed = "\n".join(pages)
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {name}\n\n{listed}\n```\n")
    return "".join(trees)
