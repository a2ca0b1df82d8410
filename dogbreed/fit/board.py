"""Pictures and final numbers for TensorBoard, where a run logs to it.

Shape legend: B batch, S input side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.classifier import ImageClassifier
from dogbreed.fit.confusion import draw_confusion
from dogbreed.fit.evaluation import SplitResult
from dogbreed.fit.figures import draw_sheet, figure_pixels

NUM_SAMPLES = 24


class SampleImages(Callback):
    """Show the first training batch as the network sees it: random views, before normalisation."""

    def __init__(self) -> None:
        self._is_done = False
        self._samples: tuple[Tensor, Tensor] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the pictures of the run's first step; every later step costs one comparison."""
        if self._is_done:
            return
        self._is_done = True
        # A run that goes on has shown its pictures; what other data modules yield may be no pixels.
        if trainer.global_step == 0 and _boards(trainer.loggers) and batch[0].dtype == torch.uint8:
            self._samples = batch[0][:NUM_SAMPLES].clone(), batch[1][:NUM_SAMPLES].clone()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw them now: drawing in the first step would be counted as training time."""
        if self._samples is None:
            return
        assert isinstance(pl_module, ImageClassifier)
        pixels = _draw_samples(*self._samples, pl_module.class_names)
        self._samples = None
        for board in _boards(trainer.loggers):
            board.experiment.add_image("pictures/train", pixels, 0, dataformats="HWC")


def show_outcome(
    loggers: Iterable[Logger],
    results: Iterable[SplitResult],
    metrics: Mapping[str, float],
    class_names: tuple[str, ...],
    step: int,
    *,
    with_pictures: bool = True,
) -> None:
    """Add the final metrics as ``final/…`` and, if pictures are wanted, the confusion matrix of each split.

    Args:
        loggers: Of the trainer; those that are no TensorBoard are left alone.
        results: What was measured with the weights that were kept.
        metrics: As in ``metrics.json``.
        class_names: Names in index order.
        step: Optimiser steps of the run.
        with_pictures: Draw.
    """
    boards = _boards(loggers)
    if not boards:
        return
    for result in results if with_pictures else ():
        pixels = figure_pixels(draw_confusion(result.confusion_KK, class_names, result.split))
        for board in boards:
            board.experiment.add_image(f"confusion/{result.prefix}", pixels, step, dataformats="HWC")
    for board in boards:
        for name, value in metrics.items():
            board.experiment.add_scalar(f"final/{name}", value, step)
        board.experiment.flush()


def _boards(loggers: Iterable[Logger]) -> list[TensorBoardLogger]:
    return [logger for logger in loggers if isinstance(logger, TensorBoardLogger)]


def _draw_samples(images_u8_BCSS: Tensor, labels_B: Tensor, class_names: tuple[str, ...]) -> NDArray[np.uint8]:
    pictures = list(images_u8_BCSS.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return figure_pixels(draw_sheet(pictures, [(class_names[label], "") for label in labels_B.tolist()]))
