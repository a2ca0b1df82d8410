"""How pictures are loaded: in how many processes, and how many at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from dogbreed.data.dataset import Batch, BatchDataset, ImageDataset, as_it_is


def build_loader(dataset: BatchDataset, sampler: Any, batch_size: int, num_workers: int, seed: int) -> DataLoader[Any]:
    """Build a loader; only pictures that are read from files or the cache are worth processes of their own.

    Args:
        dataset: Pictures or features.
        sampler: What it yields, in order.
        batch_size: Pictures at a time.
        num_workers: Processes for pictures.
        seed: Seeds the loader's own generator.
    """
    num_workers = num_workers if isinstance(dataset, ImageDataset) else 0
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=as_it_is,  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # The global one is dropout's, and how often a loader draws depends on its workers.
        generator=torch.Generator().manual_seed(seed),
    )
    return loader
