"""One run, exported once to everything, for tests that only read."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dogbreed.exporting.card import write_card
from dogbreed.exporting.formats import FORMATS
from dogbreed.exporting.writing import Exported, export_model


@dataclass(frozen=True)
class Everything:
    folder: Path
    exported: dict[str, Exported]
    card: Path


@pytest.fixture(scope="session")
def everything(finished_run, tmp_path_factory) -> Everything:
    """The files of every format and a card, in a folder of their own."""
    folder = tmp_path_factory.mktemp("exports")
    targets = {name: folder / item.file_name for name, item in FORMATS.items()}
    exported = export_model(finished_run.run_dir, targets)
    card, *_ = write_card(finished_run.model_dir, folder / "README.md")
    return Everything(folder, {item.format: item for item in exported}, card)
