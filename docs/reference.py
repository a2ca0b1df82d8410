"""Write the library's reference as pages: ``python docs/reference.py FOLDER``."""

import sys
from pathlib import Path

import pdoc

import dogbreed

# What users import is loaded on first use; pdoc shows only what is loaded.
PUBLIC = sorted({getattr(dogbreed, name).__module__ for name in dogbreed.__all__})
# What rules of one's own are made of.
RULES = ("dogbreed.diagnosis.rule", "dogbreed.diagnosis.observations", "dogbreed.diagnosis.rules")


def main() -> None:
    """Write one page for the package and one for each module that public names and rules come from."""
    folder = Path(sys.argv[1])
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("dogbreed", *PUBLIC, *RULES, output_directory=folder)
    sys.stdout.write(f"open {folder / 'index.html'}\n")


if __name__ == "__main__":
    main()
