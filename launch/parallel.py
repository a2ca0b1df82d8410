"""Do the same to many things in a few threads, without holding them all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(work: Callable[[_Item], _Result], items: Iterable[_Item], num_threads: int) -> Iterator[_Result]:
    """Yield the results as they come, in no order; at most four times as many items as threads are under way.

    The first error ends it: nothing new begins, what has begun is waited for.

    Args:
        work: Done to each item, in a thread.
        items: Taken one by one, in the calling thread, as there is room.
        num_threads: At work at a time, >= 1.

    Raises:
        Exception: the first that ``work`` raises.
    """
    under_way: set[Future[_Result]] = set()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="launch") as pool:
        try:
            for item in items:
                under_way.add(pool.submit(work, item))
                if len(under_way) >= 4 * num_threads:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in under_way:
                future.cancel()
