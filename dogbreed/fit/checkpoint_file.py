"""The file of a checkpoint: written whole or not at all, read as numbers and names only."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from dogbreed.distributed import from_main
from dogbreed.errors import UserError
from dogbreed.files import disk_errors, replacing
from dogbreed.run_files import BEST, LAST

# Where a checkpoint says what run it belongs to and how far that was.
RUN_KEY = "run"


class WholeCheckpointIO(TorchCheckpointIO):
    """Write checkpoints under a temporary name beside their place, then rename them; read numbers and names only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, whole or not at all.

        Raises:
            UserError: the disk is full or cannot be written; what was there before is still there.
        """
        path = Path(path)
        with disk_errors(path, "checkpoint_dir=DIR"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                try:
                    torch.save(checkpoint, file)
                except RuntimeError as error:  # torch's writer hides what the disk has said
                    raise _disk_error_behind(error) from error
                file.flush()
                os.fsync(file.fileno())  # else a loss of power could leave the new name without the content

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """Load onto the CPU, on all ranks what the main one reads: other machines may not see the folder.

        Raises:
            UserError: as `read_checkpoint`.
        """
        return from_main(lambda: read_checkpoint(Path(path)))


def read_checkpoint(path: Path, *, only_look: bool = False) -> dict[str, Any]:
    """Load a checkpoint onto the CPU.

    Args:
        path: The file.
        only_look: Leave its tensors on disk, but see that all of it is as it was written.

    Raises:
        UserError: it cannot be read or is damaged.
    """
    try:
        if only_look:
            _check_sums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=only_look)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror or error})."
        raise UserError(msg) from error
    except Exception as error:
        other = path.with_name(BEST)
        way = f"put {BEST} in its place to go on from there, or " if path.name == LAST and other.exists() else ""
        msg = f"{path} is damaged ({str(error).splitlines()[0][:100]}): {way}start anew with resume=never."
        raise UserError(msg) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        msg = f"{path} is no checkpoint: move it away, or choose another folder, checkpoint_dir=DIR."
        raise UserError(msg)
    return checkpoint


def _check_sums(path: Path) -> None:
    """Refuse a file in which a bit has changed; torch writes the sums and does not look at them."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        msg = f"{damaged} has changed"
        raise zipfile.BadZipFile(msg)


def _disk_error_behind(error: BaseException) -> BaseException:
    """Return the operating system's error that led to another one; that one, if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error
