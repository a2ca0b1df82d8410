"""Build the site: ``python -m docs FOLDER``. Whatever is wrong with a page ends it with code 1."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from docs import links, pages


def build(folder: Path) -> int:
    """Write the site into a folder; return 0, or 1 after the reasons on standard error."""
    with tempfile.TemporaryDirectory(prefix="docs-") as scratch:
        source = Path(scratch) / "pages"
        pages.gather(source)
        words = ["-b", "html", "-q", "-W", "--keep-going", "-E", "-c", str(pages.DOCS)]
        code = build_main([*words, "-d", str(Path(scratch) / "doctrees"), str(source), str(folder)])
    found = links.problems(folder)
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if code or found else 0


if __name__ == "__main__":
    target = Path(sys.argv[1])
    result = build(target)
    if result == 0:
        sys.stdout.write(f"open {target / 'index.html'}\n")
    sys.exit(result)
