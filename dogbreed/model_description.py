"""What a model folder says of itself, read without loading the network: for those who only carry it, too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError, shorten

FORMAT_VERSION = 1
MODEL_JSON, WEIGHTS = "model.json", "model.safetensors"
EXAMPLE_JPG, EXAMPLE_JSON = "example.jpg", "example.json"
EXAMPLE_TOLERANCE = 1e-3  # other machines round convolutions differently


def find_model_folder(folder: str | Path) -> Path:
    """Return the model folder that a path means: itself, or ``model/`` inside a run folder.

    Raises:
        UserError: there is none, and why.
    """
    folder = Path(folder).expanduser()
    for candidate in (folder, folder / "model"):
        if (candidate / "model.json").is_file():
            return candidate
    if not folder.is_dir():
        msg = f"{folder} does not exist: give a run folder or a model folder."
    elif (folder / ".hydra").is_dir():
        msg = f"{folder} holds no model yet: its run has not finished."
    elif runs := sorted(path.name for path in folder.iterdir() if (path / "model" / "model.json").is_file()):
        msg = f"{folder} holds several runs ({shorten(runs, 3)}): give one of them."
    else:
        msg = f"{folder} is neither a run folder nor a model folder (no model.json in it)."
    raise UserError(msg)


def read_description(folder: Path) -> dict[str, Any]:
    """Return a model folder's ``model.json``.

    Raises:
        UserError: it is damaged, or of a newer format.
    """
    file = folder / "model.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        version = int(info["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{file} is damaged ({error}): copy the model folder again."
        raise UserError(msg) from error
    if version > FORMAT_VERSION:
        msg = f"{file} has format version {version}, this dogbreed reads up to {FORMAT_VERSION}: update dogbreed."
        raise UserError(msg)
    missing = {"architecture", "class_names", "preprocessing", "weights_sha256"} - set(info)
    if missing:
        msg = f"{file} lacks {', '.join(sorted(missing))}: copy the model folder again."
        raise UserError(msg)
    return {"calibration_temperature": 1.0, "familiarity": None, "metrics": {}, **info}


def check_sha256(file: Path, expected: str) -> None:
    """Refuse a file that is not the one described.

    Raises:
        UserError: its checksum differs, or it cannot be read.
    """
    if sha256_of(file) != expected:
        msg = f"{file} is not the file that model.json describes (its checksum differs): copy the model folder again."
        raise UserError(msg)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hex.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}): copy the model folder again."
        raise UserError(msg) from error
