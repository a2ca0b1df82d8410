"""Connect the processes of one run, and let go of them however it ends."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from dogbreed.distributed.failure import Failure, is_echo
from dogbreed.distributed.world import world

if TYPE_CHECKING:
    from torch.distributed import Store

# What a collective waits for the slowest rank: it may have a data set to fetch.
TIMEOUT = timedelta(minutes=30)
# How long a rank that failed waits for the others to fail, too.
OTHERS_S = 5.0

_run_numbers = itertools.count()
_stores: list[Store] = []  # of the run that goes on
_has_stranded: list[bool] = []  # not empty after a run that this rank left and others did not


@contextmanager
def joined(store: Store | None = None) -> Iterator[None]:
    """Connect the ranks for one run and let go of them at its end, however it ends.

    All collectives of ours go by gloo and CPU tensors; NCCL, where there are GPUs, carries gradients.

    Args:
        store: Where the ranks meet; torchrun's by default. A rank that was given one makes no further runs.
    """
    place = world()
    if place.num_ranks == 1:
        yield
        return
    import torch
    from torch import distributed as dist

    if dist.is_initialized():  # by the caller, who also ends it
        yield
        return
    if _has_stranded:
        # Gloo and NCCL free a waiting rank only when the process that it waits for ends.
        raise SystemExit(1)
    makes_more_runs = store is None
    run_store = store or dist.PrefixStore(f"run_{next(_run_numbers)}", _agent_store())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=run_store, rank=place.rank, world_size=place.num_ranks, timeout=TIMEOUT)
    _stores.append(run_store)
    quiet_before = logging.root.manager.disable
    if place.rank > 0:
        logging.disable(logging.WARNING)
    try:
        yield
    except Exception:
        if makes_more_runs and not _all_came_out(run_store, place.num_ranks):
            _has_stranded.append(True)
        raise
    finally:
        logging.disable(quiet_before)
        _stores.remove(run_store)
        dist.destroy_process_group()


@contextmanager
def shared_fate() -> Iterator[None]:
    """Let all ranks fail with the error of the one that failed first.

    When a rank goes, the others' collectives break; what they would report is the connection.
    """
    if not _stores:
        yield
        return
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if is_echo(error):
            raise
        first = Failure.of(error).note(_stores[-1])
        if first.rank == world().rank:
            raise
        raise first.as_error() from error


def _all_came_out(store: Store, num_ranks: int) -> bool:
    """Wait a little for the other ranks to fail as we did."""
    deadline = time.monotonic() + OTHERS_S
    try:
        num_out = store.add("out", 1)
        while num_out < num_ranks and time.monotonic() < deadline:
            time.sleep(0.05)
            num_out = store.add("out", 0)
    except RuntimeError:  # the store went down with the process that kept it
        return False
    return num_out >= num_ranks


@cache
def _agent_store() -> Store:
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", timeout=TIMEOUT))[0]
    return store
