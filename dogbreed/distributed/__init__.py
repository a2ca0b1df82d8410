"""Several processes that train one network: which of them we are, and what they tell each other.

A process is a *rank* when torchrun or `dogbreed.fit.ranks` started it; the environment says which.
Without ranks, every function here does nothing but hand back what it was given, so that no caller
asks how many there are. Nothing here imports torch before it is needed.
"""

from dogbreed.distributed.collectives import (
    any_rank,
    average_over_ranks_,
    copy_from_main_,
    from_all,
    from_main,
    in_turn,
    sum_over_ranks,
)
from dogbreed.distributed.connection import joined, shared_fate
from dogbreed.distributed.failure import SENTENCES, Failure, RankError, is_echo
from dogbreed.distributed.world import World, is_main, world

__all__ = [
    "SENTENCES",
    "Failure",
    "RankError",
    "World",
    "any_rank",
    "average_over_ranks_",
    "copy_from_main_",
    "from_all",
    "from_main",
    "in_turn",
    "is_echo",
    "is_main",
    "joined",
    "shared_fate",
    "sum_over_ranks",
    "world",
]
