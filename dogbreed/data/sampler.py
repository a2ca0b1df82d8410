"""The order in which an epoch visits the training pictures, and who visits which.

Shape legend: N pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        weights_N: Pictures come in proportion to these (`weighted_order`); without them each at most once an epoch.
        rank: Which process this is, 0 <= r < ``num_ranks``.
        num_ranks: How many share a batch; must divide ``batch_size``.
        groups_N: Pictures lie together in these groups, numbered from 0, and are visited about group by group
            (`mixed_groups`); without them anywhere.
        window: How far a picture is moved from its group, in pictures.
        fetch: Called for each of our pictures about ``window`` pictures before it is visited.
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
        groups_N: NDArray[np.int32] | None = None,
        window: int = 0,
        fetch: Callable[[int], None] | None = None,
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self._shares_N = None if weights_N is None else weights_N / weights_N.sum()
        self._groups_N = groups_N
        self._window = window
        self._fetch = fetch
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
        if self._groups_N is not None:
            order_N = mixed_groups(self._groups_N, self._window, rng)
        elif self._shares_N is None:
            order_N = rng.permutation(self.num_images)
        else:
            order_N = weighted_order(self._shares_N, rng)
        whole = self.num_images // self.batch_size * self.batch_size
        share = self.batch_size // self.num_ranks
        ours = order_N[:whole].reshape(-1, self.num_ranks, share)[self._first_batch :, self.rank]
        self._first_batch = 0
        return self._visits(self.epoch, ours.ravel())

    def _visits(self, epoch: int, images: NDArray[np.int64]) -> Iterator[Visit]:
        lead = self._window // self.num_ranks if self._fetch else 0
        for image in images[:lead]:
            self._fetch_image(image)
        for number, image in enumerate(images):
            if number + lead < len(images):
                self._fetch_image(images[number + lead])
            yield Visit(epoch, int(image))

    def _fetch_image(self, image: np.int64) -> None:
        if self._fetch:
            self._fetch(int(image))


def weighted_order(shares_N: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw N visits of N pictures, each its share of them, rounded up or down by chance.

    Systematic resampling (Kitagawa, "Monte Carlo filter and smoother", 1996, appendix): with equal shares every picture
    comes once, where independent draws would leave out more than a third of them.

    Args:
        shares_N: Expected share of each picture, > 0, of sum 1.
        rng: Source of randomness.
    """
    order_N = rng.permutation(len(shares_N))
    order_N = order_N[np.argsort(shares_N[order_N], kind="stable")]  # classes of one size together: rounded as one
    ends_N = np.cumsum(len(shares_N) * shares_N[order_N]) + rng.uniform()
    ends_N[-1] = np.inf  # whatever has been lost to rounding
    visits_N = order_N[np.searchsorted(ends_N, np.arange(1, len(shares_N) + 1), side="right")]
    return rng.permutation(visits_N)


def mixed_groups(groups_N: NDArray[np.int32], window: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw an order of pictures that goes through their groups one after another, in random order.

    Each picture comes up to ``window`` places later than its group would have it, so that neighbours part, and so
    that only the groups of some ``window`` pictures are needed at a time.

    Args:
        groups_N: Group of each picture, numbered from 0.
        window: In pictures.
        rng: Source of randomness.
    """
    turns = rng.permutation(int(groups_N.max(initial=0)) + 1)
    stream_N = np.argsort(turns[groups_N], kind="stable")
    places_N = np.arange(len(groups_N)) + rng.uniform(0, max(window, 1), len(groups_N))
    order_N: NDArray[np.int64] = stream_N[np.argsort(places_N, kind="stable")]
    return order_N
