"""Model folders and containers for tests of hosting: small, quick, and answering over real HTTP."""

import hashlib
import io
import json
import sys
from pathlib import Path

from PIL import Image

from launch.standin.container import Command

# What there may be of an endpoint.
NOTHING = {"endpoints": 0, "configurations": 0, "models": 0}
ONE = {"endpoints": 1, "configurations": 1, "models": 1}

SERVER = Path(__file__).with_name("hosting_container.py")


def write_model(folder: Path, label: str = "golden", weights: bytes = b"weights") -> Path:
    """Write what a packer reads of a model folder; nothing can be computed with its weights."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    description = {
        "format_version": 1,
        "architecture": "test_resnet",
        "class_names": [label, "other"],
        "preprocessing": {},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "training_config.yaml").write_text("seed: 0\n")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(picture, "JPEG")
    (folder / "example.jpg").write_bytes(picture.getvalue())
    top = [{"label": label, "probability": 0.75}, {"label": "other", "probability": 0.25}]
    answer = {**top[0], "top": top, "familiarity": 0.5, "unlike_training_data": False}
    (folder / "example.json").write_text(json.dumps(answer))
    return folder


def small_container(folder: Path, port: int, image: str) -> Command:
    """Answer what the folder's example says, in the contract's words, without torch: starts in a tenth of a second."""
    return Command((sys.executable, "-S", str(SERVER), str(folder), str(port)), {"IMAGE": image})
