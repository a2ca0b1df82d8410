"""ImageDataModule: pictures on disk in, batches of pixels out.

Shape legend: B batch, S input side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader
from tqdm import tqdm

from dogbreed.data.augment import AugmentSettings
from dogbreed.data.dataset import Batch, BatchDataset, ImageDataset
from dogbreed.data.features import FeatureDataset
from dogbreed.data.index import ImageIndex
from dogbreed.data.loader import build_loader
from dogbreed.data.pack import read_pack
from dogbreed.data.passes import num_passes
from dogbreed.data.preprocess import Preprocessing
from dogbreed.data.sampler import EpochSampler, Visit
from dogbreed.data.scan import check_manifest, check_root, scan_folder, scan_manifest
from dogbreed.data.shards import FetchAhead, PackedList
from dogbreed.data.sources import Source
from dogbreed.data.splits import SplitRule
from dogbreed.data.storage import is_packed, storage_of
from dogbreed.data.supply import PixelSupply
from dogbreed.distributed import is_main
from dogbreed.errors import UserError


class ImageDataModule(L.LightningDataModule):
    """Load a folder, a manifest or a downloadable data set for an image classifier.

    Pixels travel as uint8, a quarter of the bytes of floats; the classifier
    normalises them on the device. Random views are keyed by (seed, epoch,
    picture), so that batches do not depend on the number of workers.

    Args:
        root: Folder of pictures: ``train|valid|test/CLASS/…`` or ``CLASS/…``; or a packed data set, in a folder or at
            ``s3://BUCKET/PREFIX``.
        packed: The root holds a packed data set; None to look.
        manifest: CSV with ``path,label[,split]`` instead; paths are relative to
            ``root``, or to the manifest's folder.
        source: Fetches the data set when neither is given.
        preprocessing: How a picture becomes network input, or the name of the
            architecture whose weights say so.
        augment: Random views for training; None trains on centre crops.
        batch_size: Pictures in a batch, >= 1; of all ranks together.
        micro_batch_size: The most pictures that a rank takes at once, >= 1; of a larger batch, the loaders yield
            `num_passes` equal parts one after another. None yields it whole.
        num_workers: Loader processes, >= 0.
        cache: Keep decoded pictures: ``auto`` in the user's cache folder, ``none``, or a folder.
        residency: ``device``: cached pictures are copied into the memory of ``self.device``, which cuts them
            itself; ``host``: they stay in the host's; ``auto``: where they fit.
        shuffle_window: Pictures of a packed data set that are mixed at a time, >= 1.
        num_views: Random views of each training picture whose features `fit_run` computes where only
            the head trains; 0 computes those of each epoch anew.
        cache_max_gb: The most that the cache may hold, of all data sets together, in GB; None for half of
            what the disk has left.
        sampling: ``uniform``: every training picture once an epoch. ``balanced``: every class
            equally often, its pictures as equally as that allows.
        on_bad_file: ``skip`` unreadable files, or ``refuse`` the data set.
        valid_fraction: Share of each class cut for validation where there is no such split.
        test_fraction: Share of each class cut for the test where there are no splits at all.
        split_seed: Another seed, another cut.
        class_names: The classes that there may be, in index order; without them
            those that have training pictures.
        everything_in: Put all pictures of a data set without splits into this one.
        seed: Key of order and random views.
        rank: Which of the processes that share each batch and split this is, 0 <= r < ``num_ranks``.
        num_ranks: How many share them; must divide ``batch_size``. With 1, a Lightning trainer
            for several devices cuts the data itself; with more, tell it ``use_distributed_sampler=False``.

    Raises:
        UserError: no data is named, the root is no folder, or a number is out of range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        packed: bool | None = None,
        manifest: str | Path | None = None,
        source: Source | None = None,
        preprocessing: Preprocessing | str | None = None,
        augment: AugmentSettings | None = None,
        batch_size: int = 32,
        micro_batch_size: int | None = None,
        num_workers: int = 0,
        cache: str | Path = "auto",
        cache_max_gb: float | None = None,
        residency: str = "auto",
        shuffle_window: int = 10_000,
        num_views: int = 0,
        sampling: str = "uniform",
        on_bad_file: str = "skip",
        valid_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        class_names: Sequence[str] | None = None,
        everything_in: str | None = None,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        super().__init__()
        if root is None and manifest is None and source is None:
            msg = "No data: give data.root=DIR, data.manifest=FILE, or data=sample."
            raise UserError(msg)
        numbers = {"batch_size": (batch_size, 1), "num_workers": (num_workers, 0), "num_views": (num_views, 0)}
        for name, (value, least) in {**numbers, "shuffle_window": (shuffle_window, 1)}.items():
            if value < least:
                msg = f"data.{name}={value} must be at least {least}."
                raise UserError(msg)
        if sampling not in ("uniform", "balanced"):
            msg = f"data.sampling={sampling} is unknown; use uniform or balanced."
            raise UserError(msg)
        if class_names is not None and len(set(class_names)) < len(class_names):
            msg = f"data.class_names={list(class_names)} names a class twice."
            raise UserError(msg)
        self.pack = str(root) if packed or (packed is None and is_packed(root)) else None
        self.root = Path(root).expanduser() if root is not None and not self.pack else None
        if self.root is not None:
            check_root(self.root)  # now: what comes before the scan may take long
        if self.pack and sampling == "balanced":
            msg = "data.sampling=balanced draws from everywhere, a packed data set is read in turn: use uniform."
            raise UserError(msg)
        self.manifest = Path(manifest).expanduser() if manifest is not None else None
        if self.manifest is not None:
            check_manifest(self.manifest)
        self.source = source
        self.preprocessing = Preprocessing.of(preprocessing) if isinstance(preprocessing, str) else preprocessing
        self.preprocessing = self.preprocessing or Preprocessing()
        self.augment = augment
        self.batch_size = batch_size
        self.num_passes = num_passes(batch_size, num_ranks, micro_batch_size)
        self.num_workers = num_workers
        self.supply = PixelSupply(cache, cache_max_gb, residency)
        self.num_views = num_views
        self.shuffle_window = shuffle_window
        self.sampling = sampling
        self.on_bad_file = on_bad_file
        self.rule = SplitRule(valid_fraction, test_fraction, split_seed, everything_in)
        self._known_classes = class_names
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self._index: ImageIndex | None = None
        self._start = (0, 0)
        # Makes data sets of features, for a classifier that trains its head only; None: batches are pictures.
        self.features: Callable[..., BatchDataset] | None = None

    # -- what there is -------------------------------------------------------

    def prepare_data(self) -> None:
        """Fetch the data set if it has a source; safe to call in several processes."""
        if self.root is None and self.manifest is None and self.pack is None and self.source:
            self.root = self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Scan the pictures, once."""
        self.prepare_data()
        if stage in (None, "fit") and self.batch_size > len(self.index.split("train")):
            count = len(self.index.split("train"))
            msg = (
                f"data.batch_size={self.batch_size} is larger than the training split ({count} pictures): "
                f"set data.batch_size={count} or lower."
            )
            raise UserError(msg)
        for split, count in self.index.counts().items() if self.num_ranks > 1 else ():
            if count < self.num_ranks:
                msg = f"The {split} split has {count} pictures for {self.num_ranks} devices: lower trainer.devices."
                raise UserError(msg)

    @property
    def index(self) -> ImageIndex:
        """The pictures by split; scanned on first use."""
        if self._index is None:
            self.prepare_data()
            options = (self.rule, self.on_bad_file, self._known_classes, partial(_progress, "scan pictures"))
            if self.pack:
                self._index = read_pack(storage_of(self.pack), self.supply.cache, self._known_classes)
            elif self.manifest:
                self._index = scan_manifest(self.manifest, self.root, *options)
            else:
                assert self.root is not None
                self._index = scan_folder(self.root, *options)
        return self._index

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.index.class_names

    # -- loaders -------------------------------------------------------------

    def dataset(self, split: str, *, augmented: bool = False, positions: Sequence[int] | None = None) -> ImageDataset:
        """Make the data set of a split, with random views or as evaluation sees it.

        Args:
            split: Its name.
            augmented: With random views.
            positions: The pictures that will be asked for, which is when the cache holds them; None for all.
        """
        assert self.preprocessing is not None
        images = self.index.split(split)
        augment = self.augment if augmented else None
        wanted = range(len(images)) if positions is None else positions
        progress = partial(_progress, f"decode {split}")
        return self.supply.dataset(images, self.preprocessing, augment, self.seed, wanted, progress)

    def start_at(self, epoch: int, batch: int) -> None:
        """Have the next training loader go on where a run was interrupted.

        Args:
            epoch: Counted from 0.
            batch: First batch of ``batch_size`` that it yields in that epoch, counted from 0; later epochs are whole.
        """
        self._start = (epoch, batch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches of random views; a short last batch is left to the next epoch's shuffle."""
        dataset = self._dataset("train", range(len(self.index.split("train"))), augmented=True)
        images = self.index.split("train")
        packed = images if isinstance(images, PackedList) else None
        weights_N = None
        if self.sampling == "balanced":
            weights_N = 1 / np.maximum(self.index.class_counts("train"), 1)[images.labels]
        sampler = EpochSampler(
            len(images),
            self.batch_size,
            self.seed,
            weights_N=weights_N,
            rank=self.rank,
            num_ranks=self.num_ranks,
            groups_N=packed.shards_N if packed and not self.features else None,
            window=self.shuffle_window,
            fetch=FetchAhead(packed) if packed and packed.files.is_remote and not self.features else None,
        )
        (epoch, batch), self._start = self._start, (0, 0)
        # Now: loader processes fetch ahead before Lightning names the epoch.
        sampler.set_epoch(epoch)
        sampler.start_at(batch)
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Return the validation split in order, every picture once; nothing where there is none."""
        return self.eval_dataloader("valid") if "valid" in self.index.splits else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test split in order, every picture once."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str, step: int = 1) -> DataLoader[Batch]:
        """Return any split as evaluation sees it: centre crops, in order, every picture once.

        Of several ranks, rank r gets every W-th of these pictures, beginning with the r-th.

        Args:
            split: Its name.
            step: Take every so many-th picture only, >= 1.
        """
        positions = range(0, len(self.index.split(split)), step)
        return self._loader(self._dataset(split, positions), positions[self.rank :: self.num_ranks])

    def picture_loader(self, split: str, visits: Sequence[int | Visit], *, augmented: bool) -> DataLoader[Batch]:
        """Return batches of pictures of a split, whatever the other loaders yield.

        Args:
            split: Its name.
            visits: Positions, or visits of random views.
            augmented: With random views.
        """
        positions = [visit if isinstance(visit, int) else visit.image for visit in visits]
        return self._loader(self.dataset(split, augmented=augmented, positions=positions), visits)

    def _dataset(self, split: str, positions: Sequence[int], *, augmented: bool = False) -> BatchDataset:
        if self.features:
            return self.features(split, augmented=augmented, positions=positions)
        return self.supply.reside(self.dataset(split, augmented=augmented, positions=positions), positions)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Distort, paint over and mix the pictures of a training batch on the device, if they are to be."""
        return batch.changed() if isinstance(batch, Batch) else batch

    def _loader(self, dataset: BatchDataset, sampler: Any) -> DataLoader[Batch]:
        passes = 1 if isinstance(dataset, FeatureDataset) else self.num_passes  # features are small
        share = self.batch_size // self.num_ranks // passes
        return build_loader(dataset, sampler, share, self.num_workers, self.seed)


def _progress(what: str, items: Any, total: int) -> Any:
    return tqdm(items, desc=what, total=total, disable=None if is_main() else True, delay=1, leave=False)
