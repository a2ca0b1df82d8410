"""What a job leaves behind: the model folder, how the run was told to be, and why it has failed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.errors import UserError, sentence_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

# DescribeTrainingJob shows so much of the failure file as FailureReason.
MAX_FAILURE_CHARS = 1024
# What a model folder is known by: it comes last.
_SIGN = "model.json"


def deliver_model(model: Path, target: Path) -> None:
    """Copy a model folder into one that is there already; it is complete when ``model.json`` is in it.

    Args:
        model: The model folder of a run.
        target: ``/opt/ml/model``, which SageMaker has made and which cannot be replaced.
    """
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(model, unfinished)
    for path in sorted(unfinished.iterdir(), key=lambda path: (path.name == _SIGN, path.name)):
        path.rename(target / path.name)
    unfinished.rmdir()


def record_overrides(run_dir: Path, overrides: Sequence[str], cfg: DictConfig) -> None:
    """Write ``.hydra/``, as Hydra does for a run in a shell, unless it has."""
    from omegaconf import OmegaConf

    from dogbreed.files import write_text

    folder = run_dir / ".hydra"
    if folder.exists():
        return
    folder.mkdir(parents=True)
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))


def report_failure(file: Path, error: BaseException) -> None:
    """Write why a job has failed, in one sentence, for DescribeTrainingJob; the first one on a machine counts.

    The toolkit leaves a file that is there alone; without one it would write its own report of the command line.
    """
    sentence = " ".join(sentence_of(error).split())
    if not isinstance(error, UserError):
        sentence = f"{type(error).__name__}: {sentence} (a bug of the code that runs; its traceback is in the log)"
    if len(sentence) > MAX_FAILURE_CHARS:
        sentence = sentence[: MAX_FAILURE_CHARS - 1] + "…"
    # A full disk must not hide what the error was.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(sentence)
