"""Features in the place of pictures: what a frozen backbone makes of them, computed once a picture and view.

Shape legend: N pictures, D features.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dogbreed.data.dataset import Batch, BatchDataset
from dogbreed.data.sampler import Visit
from dogbreed.files import replacing

FILE = "features.npz"


class FeatureDataset(BatchDataset):
    """Rows of features of one split.

    Args:
        views_ND: Features of each view; epoch ``e`` gets view ``e`` modulo their number. Rows that
            will not be asked for may hold anything.
        labels_N: Class indices.
    """

    def __init__(self, views_ND: Sequence[Tensor], labels_N: NDArray[np.int32]) -> None:
        self.views_ND = views_ND
        self.labels_N = labels_N

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitems__(self, visits: Sequence[int | Visit]) -> Batch:
        """Return some pictures' rows."""
        pairs = [visit if isinstance(visit, Visit) else (0, visit) for visit in visits]
        views = [self.views_ND[epoch % len(self.views_ND)] for epoch, _ in pairs]
        positions_B = torch.tensor([position for _, position in pairs])
        if all(view is views[0] for view in views):
            rows_BD = views[0][positions_B]
        else:  # an epoch ends within the batch
            rows_BD = torch.stack([view[position] for view, (_, position) in zip(views, pairs, strict=True)])
        labels_B = torch.from_numpy(self.labels_N[positions_B.numpy()].astype(np.int64))
        return Batch(rows_BD, labels_B, positions_B)


class FeatureFile:
    """Rows of features on disk, by the keys of their pictures (`dogbreed.data.store.key_of`).

    Args:
        folder: Holds one file; its name says what made the features.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def find(self, keys: Sequence[bytes]) -> tuple[Tensor | None, list[int]]:
        """Look rows up.

        Returns:
            ``(N, D)`` float32, None if there is no file; and the positions whose rows are missing, in which
            there may be anything.
        """
        everything = list(range(len(keys)))
        try:
            with np.load(self._file, allow_pickle=False) as archive:
                theirs, rows_MD = archive["keys"].tobytes(), torch.from_numpy(archive["features"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None, everything
        row_of = {theirs[16 * row : 16 * row + 16]: row for row in range(len(rows_MD))}
        rows = [row_of.get(key, -1) for key in keys]
        missing = [position for position, row in enumerate(rows) if row < 0]
        return rows_MD[torch.tensor(rows)], missing

    def write(self, keys: Sequence[bytes], features_ND: Tensor) -> None:
        """Put these rows, whole or not at all, in the place of what was there.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        with replacing(self._file) as unfinished, unfinished.open("wb") as file:
            np.savez(file, keys=np.frombuffer(b"".join(keys), dtype=np.uint8), features=features_ND.numpy())
