"""`finetune=head` without its backbone: features are computed once, and the head trains from them.

Shape legend: B batch, N pictures, D features.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dogbreed.allocator import keeping_freed_memory
from dogbreed.classifier import ImageClassifier
from dogbreed.data.cache import BusyError, filling, keys_of, mark_used
from dogbreed.data.cache_entries import ABOUT, Room
from dogbreed.data.features import FeatureDataset, FeatureFile
from dogbreed.data.sampler import Visit
from dogbreed.datamodule import ImageDataModule
from dogbreed.distributed import is_main
from dogbreed.files import write_json
from dogbreed.nets.backbone import head_modules
from dogbreed.nets.features import logits_and_features

log = logging.getLogger(__name__)


class FeatureExtractor:
    """Make `FeatureDataset`s of a data module's splits.

    What was computed for the same weights, preprocessing, view and picture is read from the cache, which trials
    of a sweep and later runs share.

    Args:
        classifier: Its backbone stays as it is from now on.
        data: Where the pictures come from.
        device: Where the backbone runs.
        precision: Lightning's word for it: ``bf16-mixed`` computes the random views' features in bfloat16. Those
            that evaluation sees are always float32, as whoever loads the model folder will compute them.
    """

    def __init__(
        self, classifier: ImageClassifier, data: ImageDataModule, device: torch.device, precision: str
    ) -> None:
        self._classifier = classifier
        self._data = data
        self._device = device
        self._precision = precision
        self._weights = _hash_of_backbone(classifier)

    def __call__(self, split: str, *, augmented: bool, positions: Sequence[int]) -> FeatureDataset:
        """Make a data set of some pictures of a split, with random views or as evaluation sees it."""
        labels_N = self._data.index.split(split).labels
        views: list[int | None] = list(range(self._data.num_views)) if augmented else [None]
        is_cached = self._data.supply.cache is not None
        keys = keys_of(self._data.index.split(split), positions) if is_cached else []
        return FeatureDataset(self._all_features(split, views, positions, keys), labels_N)

    def _all_features(
        self, split: str, views: Sequence[int | None], positions: Sequence[int], keys: list[bytes]
    ) -> list[Tensor]:
        """Return the features of each view; ranks and trials that begin together compute different ones."""
        found: dict[int | None, Tensor] = {}
        left = list(views)
        while left:
            for view in tuple(left):
                with suppress(BusyError):
                    found[view] = self._features(split, view, positions, keys, waits=False)
                    left.remove(view)
            if left:  # others compute all of these
                view = left.pop(0)
                found[view] = self._features(split, view, positions, keys, waits=True)
        return [found[view] for view in views]

    def _features(
        self, split: str, view: int | None, positions: Sequence[int], keys: list[bytes], *, waits: bool
    ) -> Tensor:
        """Return ``(N, D)`` features of a whole split, of which those that are wanted are computed."""
        images = self._data.index.split(split)
        try:
            found_MD = self._from_cache(split, view, positions, keys, waits=waits)
        except OSError as error:
            log.warning("cache   %s cannot be used (%s).", error.filename, os.strerror(error.errno or 0))
            found_MD = self._compute(split, view, positions)
        features_ND = found_MD.new_zeros(len(images), found_MD.shape[1])
        features_ND[torch.tensor(positions)] = found_MD
        return features_ND

    def _from_cache(
        self, split: str, view: int | None, positions: Sequence[int], keys: list[bytes], *, waits: bool
    ) -> Tensor:
        settings = self._data.supply.cache
        if settings is None:
            return self._compute(split, view, positions)
        folder = settings.folder / self._name(split, view)
        file = FeatureFile(folder)
        found_MD, missing = file.find(keys)
        if missing:
            with filling(folder, waits=waits):
                found_MD, missing = file.find(keys)
                if missing:
                    computed = self._compute(split, view, [positions[row] for row in missing])
                    found_MD = computed.new_empty(len(keys), computed.shape[1]) if found_MD is None else found_MD
                    found_MD[torch.tensor(missing)] = computed
                    self._keep(file, folder, keys, found_MD, split, view)
        mark_used(folder)
        assert found_MD is not None
        return found_MD

    def _keep(
        self, file: FeatureFile, folder: Path, keys: list[bytes], features_MD: Tensor, split: str, view: int | None
    ) -> None:
        settings = self._data.supply.cache
        assert settings is not None
        try:
            if not Room(settings.folder, settings.max_bytes, keep=folder).take(features_MD.nbytes):
                log.warning(
                    "cache   %s holds all that it may: %s are not kept; make room with python -m dogbreed.cache, or "
                    "set data.cache=DIR or data.cache_max_gb.",
                    settings.folder,
                    self._what(split, view),
                )
                return
            root = self._data.index.split(split).where
            write_json(folder / ABOUT, {"root": root, "what": self._what(split, view)})
            file.write(keys, features_MD)
        except OSError as error:
            log.warning("cache   %s cannot be written (%s): not kept.", folder, os.strerror(error.errno or 0))

    def _what(self, split: str, view: int | None) -> str:
        return f"features of {split}" + (f", view {view + 1} of {self._data.num_views}" if view is not None else "")

    def _name(self, split: str, view: int | None) -> str:
        data = self._data
        images = data.index.split(split)
        how = (
            self._weights,
            self._device.type,
            self._precision_of(view),
            images.where,
            split,
            self._classifier.preprocessing,
        )
        # A view is drawn for a picture's place in the split, and cut from the cache's copy if there is one.
        drawn = (view, data.augment, data.seed, data.supply.cache is None) if view is not None else ()
        digest = hashlib.blake2b(repr((how, drawn)).encode("utf-8", "surrogateescape"), digest_size=8)
        digest.update(images.paths.content if drawn else b"")
        return digest.hexdigest()

    def _precision_of(self, view: int | None) -> str:
        return "32-true" if view is None else self._precision

    @keeping_freed_memory()
    @torch.inference_mode()
    def _compute(self, split: str, view: int | None, positions: Sequence[int]) -> Tensor:
        """Run the backbone over pictures, in evaluation mode."""
        net = self._classifier.net.to(self._device)
        was_training = net.training
        net.eval()
        visits = list(positions) if view is None else [Visit(view, position) for position in positions]
        rows = []
        with _autocast(self._device, self._precision_of(view)):
            for batch in tqdm(
                self._data.picture_loader(split, visits, augmented=view is not None),
                desc=self._what(split, view),
                disable=None if is_main() else True,
                delay=1,
                leave=False,
            ):
                images = batch.changed().images.to(self._device, non_blocking=True)
                images = self._classifier.preprocessing.normalize(images)
                rows.append(logits_and_features(net, images)[1].float().cpu())
        net.train(was_training)
        return torch.cat(rows)


def _hash_of_backbone(classifier: ImageClassifier) -> str:
    heads = {id(tensor) for module in head_modules(classifier.net) for tensor in module.parameters()}
    digest = hashlib.blake2b(classifier.architecture.encode(), digest_size=16)
    for name, tensor in classifier.net.state_dict(keep_vars=True).items():
        if id(tensor) not in heads:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _autocast(device: torch.device, precision: str) -> torch.autocast | nullcontext[None]:
    if not precision.endswith("-mixed"):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision.startswith("bf16") else torch.float16)
