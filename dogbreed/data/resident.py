"""All pictures of a split in the memory of the device that trains: batches are gathered there, no process loads them.

Shape legend: B batch, C channels (3), N pictures, P pixels of all pictures, S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.data.dataset import Batch, BatchDataset, ImageDataset, position_of
from dogbreed.data.pixels import StoredPixels
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.resample import cut_and_resize
from dogbreed.data.sampler import Visit

# Longest sides are rounded up to these many pixels, so that the shapes of batches come back.
ROUNDED_PX = 32
# Copied at once: larger copies are no faster, and the host needs the room twice.
CHUNK_BYTES = 64 * 1024 * 1024


class ResidentPixels:
    """Pictures of a split on a device, one behind the other.

    Args:
        pixels: From the cache.
        positions: The pictures that will be asked for; all must be in the cache.
        device: Where they go.
    """

    def __init__(self, pixels: StoredPixels, positions: Sequence[int], device: torch.device) -> None:
        sizes_N2 = _sizes(pixels)
        areas_N = np.zeros(len(pixels), dtype=np.int64)
        areas_N[positions] = sizes_N2[positions].prod(axis=1)
        ends_N = areas_N.cumsum()
        self.device = device
        sizes = {tuple(size) for size in np.unique(sizes_N2[positions], axis=0).tolist()}
        self._shared_size = sizes.pop() if len(sizes) == 1 else None
        self.pixels_PC = torch.empty((int(ends_N[-1]), 3), dtype=torch.uint8, device=device)
        self.offsets_N = torch.from_numpy(ends_N - areas_N).to(device)
        self.widths_N = torch.from_numpy(sizes_N2[:, 1]).to(device)
        waiting: list[Tensor] = []
        start = size = 0
        for position in positions:
            waiting.append(pixels.read(position).permute(1, 2, 0).reshape(-1, 3))
            size += len(waiting[-1])
            if 3 * size >= CHUNK_BYTES or position == positions[-1]:
                self.pixels_PC[start : start + size] = torch.cat(waiting).to(device)
                start, size, waiting = start + size, 0, []

    def cut(self, indices_B: Tensor, cuts: Cuts, preprocessing: Preprocessing) -> Tensor:
        """Return the views of some pictures, uint8 ``(B, 3, S, S)``, on the device; no host synchronisation."""
        side = preprocessing.input_size_px
        is_whole = self._shared_size == (side, side) and (cuts.boxes_B4[:, 2:] == side).all()
        if is_whole and not cuts.is_flipped_B.any():  # cut already
            within_S = torch.arange(side * side, device=self.device)
            rows_BS = self.offsets_N[indices_B.to(self.device, non_blocking=True)][:, None] + within_S
            return self.pixels_PC[rows_BS].view(-1, side, side, 3).permute(0, 3, 1, 2)
        longest = [-(-int(side) // ROUNDED_PX) * ROUNDED_PX for side in cuts.boxes_B4[:, 2:].max(axis=0)]
        indices_B = indices_B.to(self.device, non_blocking=True)
        return cut_and_resize(
            self.pixels_PC,
            self.offsets_N[indices_B],
            self.widths_N[indices_B],
            torch.from_numpy(cuts.boxes_B4).to(self.device, non_blocking=True),
            (longest[0], longest[1]),
            side_px=side,
            interpolation=preprocessing.interpolation,
            is_flipped_B=torch.from_numpy(cuts.is_flipped_B).to(self.device, non_blocking=True),
        )


class Cuts(NamedTuple):
    """What is to be cut out of each picture of a batch; on the host."""

    boxes_B4: NDArray[np.int64]
    is_flipped_B: NDArray[np.bool_]


class ResidentDataset(BatchDataset):
    """The same pictures as an `ImageDataset`'s, as instructions how to cut them on the device.

    Args:
        dataset: Draws the views.
        resident: Holds the pictures.
    """

    def __init__(self, dataset: ImageDataset, resident: ResidentPixels) -> None:
        assert isinstance(dataset.pixels, StoredPixels)
        self.dataset = dataset
        self.resident = resident
        self._sizes_N2 = _sizes(dataset.pixels)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, visits: Sequence[int | Visit]) -> Batch:
        """Draw the views of some pictures."""
        positions = [position_of(visit) for visit in visits]
        sizes = self._sizes_N2[positions].tolist()
        views = [self.dataset.draw(visit, *size) for visit, size in zip(visits, sizes, strict=True)]
        cuts = Cuts(np.array([view.box for view in views]), np.array([view.is_flipped for view in views]))
        source = ResidentViews(self.resident, cuts, self.dataset.preprocessing)
        nothing = torch.empty(len(views), 0, dtype=torch.uint8)
        labels, changes = self.dataset.labels(positions), self.dataset.changes(views)
        return Batch(nothing, labels, torch.tensor(positions), changes, source)


class ResidentViews:
    """The pictures of a batch before they are cut.

    Args:
        resident: Holds the pictures.
        cuts: What is to be cut.
        preprocessing: Input side and interpolation.
    """

    def __init__(self, resident: ResidentPixels, cuts: Cuts, preprocessing: Preprocessing) -> None:
        self._resident = resident
        self._cuts = cuts
        self._preprocessing = preprocessing

    def images(self, indices_B: Tensor) -> Tensor:
        """Cut them, uint8 ``(B, 3, S, S)``."""
        return self._resident.cut(indices_B, self._cuts, self._preprocessing)


def _sizes(pixels: StoredPixels) -> NDArray[np.int64]:
    assert pixels.places is not None
    return pixels.places.sizes_N2.astype(np.int64)


def num_bytes(pixels: StoredPixels, positions: Sequence[int]) -> int | None:
    """Return how much memory some pictures take; None if not all of them are in the cache."""
    assert pixels.places is not None
    if (pixels.places.shards_N[positions] < 0).any():
        return None
    return int(3 * _sizes(pixels)[positions].prod(axis=1).sum())
