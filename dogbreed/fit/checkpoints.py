"""Checkpoints: what is kept of a run, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from dogbreed.files import replacing


class WholeCheckpointIO(TorchCheckpointIO):
    """Write checkpoints under a temporary name beside their place, then rename them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            torch.save(checkpoint, unfinished)
