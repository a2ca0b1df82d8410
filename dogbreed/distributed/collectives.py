"""What the processes of a run tell each other.

Shape legend: M rows of one rank, N rows of all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from dogbreed.distributed.failure import Failure
from dogbreed.distributed.world import is_main

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


def from_main(make: Callable[[], T]) -> T:
    """Let the main rank decide, and tell the others.

    Args:
        make: Called on the main rank only; what it returns must be picklable.

    Returns:
        The same on every rank.

    Raises:
        Exception: whatever ``make`` raised, on every rank.
    """
    if not _is_connected():
        return make()
    answer: tuple[Any, Failure | None] = (None, None)
    error: Exception | None = None
    if is_main():
        try:
            answer = (make(), None)
        except Exception as its_error:  # noqa: BLE001 -- raised again below, when the others know
            error, answer = its_error, (None, Failure.of(its_error))
    value, failure = _broadcast(answer)
    if error is not None:
        raise error
    if failure is not None:
        raise failure.as_error()
    return value  # type: ignore[no-any-return]


def from_all(value: T) -> list[T]:
    """Return every rank's value, by rank."""
    if not _is_connected():
        return [value]
    from torch import distributed as dist

    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def any_rank(flag: bool) -> bool:  # noqa: FBT001 -- a state
    """Say whether it is so on any rank. Ranks wait for each other, GPUs for nobody."""
    if not _is_connected():
        return flag
    import torch

    return bool(sum_over_ranks(torch.tensor(int(flag))))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum over the ranks, on the CPU."""
    if not _is_connected():
        return tensor.cpu()
    from torch import distributed as dist

    total = tensor.detach().to(_device(), copy=True)
    dist.all_reduce(total)
    return total.cpu()


def average_over_ranks_(tensors: Iterable[Tensor]) -> None:
    """Replace floating-point tensors, in place, by their means over the ranks."""
    tensors = list(tensors)
    if not tensors or not _is_connected():
        return
    import torch
    from torch import distributed as dist

    flat = torch.cat([tensor.detach().flatten().double() for tensor in tensors])
    mean = (sum_over_ranks(flat) / dist.get_world_size()).to(tensors[0].device)
    with torch.no_grad():
        for tensor, part in zip(tensors, torch.split(mean, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def copy_from_main_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors, in place, by those of the main rank."""
    if not _is_connected():
        return
    import torch
    from torch import distributed as dist

    with torch.no_grad():
        for tensor in tensors:
            box = tensor.detach().to(_device(), copy=True)
            dist.broadcast(box, src=0)
            tensor.copy_(box)


def in_turn(rows_MX: Tensor) -> Tensor:
    """Put together what the ranks hold of a list of which rank r has the items r, r + W and so on.

    Args:
        rows_MX: This rank's rows, in order; one more or less than others'.

    Returns:
        All N rows in the list's order, on every rank, on the CPU.
    """
    if not _is_connected():
        return rows_MX.cpu()
    import torch
    from torch import distributed as dist

    counts = from_all(len(rows_MX))
    padded = torch.zeros(max(counts), *rows_MX.shape[1:], dtype=rows_MX.dtype, device=_device())
    padded[: len(rows_MX)] = rows_MX
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[: sum(counts)].cpu()


def _is_connected() -> bool:
    """Say whether there are other ranks to talk to."""
    dist = sys.modules.get("torch.distributed")  # not imported: commands must answer without torch
    return dist is not None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _broadcast(value: Any) -> Any:
    from torch import distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, device=_device())
    return box[0]


def _device() -> Any:
    """Return where tensors must be for a collective: with Lightning's own NCCL group, on the GPU."""
    import torch
    from torch import distributed as dist

    has_gloo = "cpu:" in dist.get_backend_config()
    return torch.device("cpu") if has_gloo else torch.device("cuda", torch.cuda.current_device())
