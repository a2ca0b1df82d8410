"""The order in which an epoch visits the training pictures, and who visits which.

Shape legend: N pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from dogbreed.data.augment import view_generator

# Where the order's random stream sits among those of the pictures.
_ORDER = 2**63


class Visit(NamedTuple):
    """One picture in one epoch: all that its view depends on."""

    epoch: int
    image: int


class EpochSampler(Sampler[Visit]):
    """Visit the training pictures in an order keyed by (seed, epoch), the same on every machine.

    The epoch is cut into global batches, and each process takes its share of every
    batch: the number of processes changes who works, not what a step learns from.
    A short last batch is left to the next epoch's shuffle. Lightning calls
    `set_epoch`; the epoch travels with each index, so that workers that live
    through all epochs still know which one it is.

    Args:
        num_images: Length of the split.
        batch_size: Pictures in a global batch, 1 <= b <= ``num_images``.
        seed: Another seed, other orders.
        weights_N: Draw with replacement in proportion to these; without them
            every picture comes at most once an epoch.
        rank: Which process this is, 0 <= r < ``num_ranks``.
        num_ranks: How many share a batch; must divide ``batch_size``.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int = 0,
        *,
        weights_N: NDArray[np.float64] | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self._shares_N = None if weights_N is None else weights_N / weights_N.sum()
        self.epoch = 0
        self._first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def start_at(self, batch: int) -> None:
        """Leave out the first batches of the next iteration, and of that one only: a run goes on within an epoch."""
        self._first_batch = batch

    def __len__(self) -> int:
        return self.num_images // self.batch_size * (self.batch_size // self.num_ranks)

    def __iter__(self) -> Iterator[Visit]:
        rng = view_generator(self.seed, self.epoch, _ORDER)
        if self._shares_N is None:
            order_N = rng.permutation(self.num_images)
        else:
            order_N = rng.choice(self.num_images, self.num_images, p=self._shares_N)
        whole = self.num_images // self.batch_size * self.batch_size
        share = self.batch_size // self.num_ranks
        ours = order_N[:whole].reshape(-1, self.num_ranks, share)[self._first_batch :, self.rank]
        self._first_batch = 0
        return (Visit(self.epoch, int(image)) for image in ours.ravel())
