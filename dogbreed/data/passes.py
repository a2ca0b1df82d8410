"""In what portions a batch comes to the device."""

from __future__ import annotations

import math

from dogbreed.errors import UserError


def num_passes(batch_size: int, num_ranks: int, micro_batch_size: int | None) -> int:
    """Return in how many equal passes a batch goes through the network, the fewest that are small enough.

    Args:
        batch_size: Pictures in a batch, of all ranks together; a multiple of ``num_ranks``.
        num_ranks: How many share it.
        micro_batch_size: The most pictures that one of them takes at once; None for its whole share.

    Raises:
        UserError: the limit is below 1.

    Example:
        >>> [num_passes(32, 1, 32), num_passes(32, 1, 10), num_passes(32, 2, 10), num_passes(31, 1, 30)]
        [1, 4, 2, 31]
    """
    if micro_batch_size is None:
        return 1
    if micro_batch_size < 1:
        msg = f"data.micro_batch_size={micro_batch_size} must be at least 1, or null for whole batches."
        raise UserError(msg)
    share = batch_size // num_ranks
    fewest = max(1, math.ceil(share / micro_batch_size))
    return next((passes for passes in range(fewest, share + 1) if share % passes == 0), 1)
