"""What `trainer.*` says of batches, where a batch comes to the device in several passes.

Lightning counts loaders' batches, of which ``num_passes`` make one of ``data.batch_size``. The order of an epoch is cut
into those larger ones (`EpochSampler`) and a short last one is left out, so that no step gets fewer passes than another
and Lightning's division by their number is right for all.
"""

from __future__ import annotations

import math
from typing import Any

from omegaconf import DictConfig

from dogbreed.datamodule import ImageDataModule
from dogbreed.errors import UserError


def trainer_in_passes(trainer: DictConfig, data: ImageDataModule, num_passes: int) -> dict[str, Any]:
    """Translate what counts batches into what counts passes.

    Args:
        trainer: The ``trainer`` node of a resolved configuration.
        data: Its index is known.
        num_passes: In how many a batch comes, >= 1.

    Returns:
        The keys whose values are others than in ``trainer``.

    Raises:
        UserError: a share of batches is none, or ``overfit_batches`` is a share.
    """
    if num_passes == 1:
        return {}
    train = len(data.index.split("train")) // data.batch_size
    valid = math.ceil(math.ceil(len(data.index.split("valid")) / data.num_ranks) / (data.batch_size // data.num_ranks))
    if 0 < trainer.overfit_batches < 1 or (trainer.overfit_batches == 1 and isinstance(trainer.overfit_batches, float)):
        msg = f"trainer.overfit_batches={trainer.overfit_batches} with data.micro_batch_size: give a number of batches."
        raise UserError(msg)
    limit = _scaled(trainer, "limit_train_batches", train, num_passes)
    trained = train if isinstance(limit, float) else min(train, limit // num_passes)
    return {
        "limit_train_batches": limit,
        "limit_val_batches": _scaled(trainer, "limit_val_batches", valid, num_passes),
        "accumulate_grad_batches": trainer.accumulate_grad_batches * num_passes,
        "overfit_batches": int(trainer.overfit_batches) * num_passes,
        "val_check_interval": _interval(trainer.val_check_interval, trained, num_passes),
    }


def _scaled(trainer: DictConfig, key: str, num_batches: int, num_passes: int) -> int | float:
    """Return a limit in passes; Lightning takes 1 for a batch and 1.0 for all of them."""
    value = trainer[key]
    if isinstance(value, int) or value > 1:
        return int(value) * num_passes
    if value == 1:
        return 1.0
    if not int(num_batches * value):
        msg = f"trainer.{key}={value} of {num_batches} batches is none: raise it, or give a number of batches."
        raise UserError(msg)
    return int(num_batches * value) * num_passes


def _interval(value: Any, num_batches: int, num_passes: int) -> Any:
    """Return after how many passes validation comes; what is no number is a time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and value == 1):
        return value
    if isinstance(value, int) or value > 1:
        return int(value) * num_passes
    return max(1, int(num_batches * value)) * num_passes
