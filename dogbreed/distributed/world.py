"""Which process this is among those that train together."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Where this process stands among those that train together.

    Args:
        rank: Number of this process among all, 0 <= r < ``num_ranks``.
        num_ranks: How many there are, on all machines.
        local_ranks: How many there are on this machine.
        is_started: Somebody has started the ranks; we are one of them.
    """

    rank: int = 0
    num_ranks: int = 1
    local_ranks: int = 1
    is_started: bool = False


def world() -> World:
    """Return this process's place, as torchrun and `dogbreed.fit.ranks` put it into the environment."""
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return World()
    num_ranks = int(os.environ["WORLD_SIZE"])
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", num_ranks))
    return World(int(os.environ["RANK"]), num_ranks, local_ranks, is_started=True)


def is_main() -> bool:
    """Say whether this process is the one that writes files and talks: rank 0, or the only one."""
    return world().rank == 0
