"""A training step never makes the host wait for the GPU.

Where there is none, torch's fake tensors stand in for it: they have shapes and a device but no values, so that whatever
asks for one fails; a copy back to the host is refused here. The pass backward is C++ that wants a real GPU: the test
marked `gpu` has it, too.
"""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from helpers import make_tree
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities import move_data_to_device
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dogbreed import AugmentSettings, ImageClassifier, ImageDataModule, Preprocessing
from dogbreed.data.mix import MixSettings
from dogbreed.fit import record as record_module
from dogbreed.fit.average import WeightAverage, update_average
from dogbreed.fit.guard import LossGuard, Suspects
from dogbreed.fit.record import EpochRecord
from dogbreed.nets import backbone

GPU = torch.device("cuda", 0)
STRONG = AugmentSettings(
    crop_scale=(0.25, 1.0), num_distortions=2, erase_probability=0.5, mix=MixSettings(0.5, 0.4, 1.0)
)
NAMES = ["blue", "green", "red"]


class NoWayBack(TorchDispatchMode):
    """Refuses copies from the GPU to the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        before = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        after = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if any(tensor.is_cuda for tensor in before) and not all(tensor.is_cuda for tensor in after):
            msg = f"{function} copies to the host"
            raise AssertionError(msg)
        return result


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("pictures"), {"train": 4, "valid": 2})


def data_of(root, tmp_path, residency, augment):
    return ImageDataModule(root, augment=augment, residency=residency, batch_size=8, num_workers=0,
                           preprocessing=Preprocessing(32, 36), cache=tmp_path / "cache")  # fmt: skip


def classifier_of(**more):
    loss = {"label_smoothing": 0.1}
    return ImageClassifier("test_resnet", NAMES, pretrained=False, input_size_px=32, loss=loss, **more)


def callbacks_of(tmp_path):
    return LossGuard(Suspects(1e-3, 1e-3, "bf16-mixed", None), 50), EpochRecord(tmp_path / "metrics.csv", 8)


def to_fake_gpu(resident):
    resident.device = GPU
    for name in ("pixels_PC", "offsets_N", "widths_N"):
        setattr(resident, name, getattr(resident, name).to(GPU))


@pytest.mark.parametrize("residency", ["host", "device"])
@pytest.mark.parametrize("augment", [AugmentSettings(), STRONG], ids=["standard", "strong"])
def test_nothing_of_a_step_asks_for_a_value(root, tmp_path, residency, augment, monkeypatch):
    data = data_of(root, tmp_path, residency, augment)
    data.supply.device = torch.device("cpu")
    loader = data.train_dataloader()
    batch = next(iter(loader))
    assert (batch.source is not None) == (residency == "device")
    monkeypatch.setattr(record_module, "peak_flops", lambda *_: None)  # asks the driver
    monkeypatch.setattr(backbone, "quicken", lambda _: None)  # a CPU's matter, settled by running the network
    guard, record = callbacks_of(tmp_path)
    trainer = SimpleNamespace(
        is_last_batch=False, accumulate_grad_batches=1, global_step=1, precision="bf16-mixed", current_epoch=0,
        profiler=PassThroughProfiler(),
    )  # fmt: skip
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device(GPU):
        classifier, average = classifier_of(channels_last=False), classifier_of(channels_last=False).net
        monkeypatch.setattr(type(classifier), "device", GPU)
        monkeypatch.setattr(classifier, "log", lambda *_: None)
        classifier.train()
        if residency == "device":
            to_fake_gpu(loader.dataset.resident)
        batch = move_data_to_device(batch, GPU)
        record.on_train_start(trainer, classifier)
        with NoWayBack():
            record.on_train_batch_start(trainer, classifier, batch, 0)
            batch = data.on_after_batch_transfer(batch, 0)
            loss = classifier.training_step(batch, 0)
            for callback in (guard, record):
                callback.on_train_batch_end(trainer, classifier, {"loss": loss}, batch, 0)
            update_average(average, classifier.net, 0.99)
        assert loss.device == GPU
        assert loss.dtype == torch.float32
        with pytest.raises(DataDependentOutputException):
            guard.check(trainer)  # what looks at a value would have been found
        with pytest.raises(AssertionError, match="copies to the host"), NoWayBack():
            loss.cpu()


class Watched(Callback):
    """Makes torch refuse to wait within each step but the first."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx and not trainer.is_last_batch:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, *_):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("residency", ["host", "device"])
@pytest.mark.parametrize("augment", [AugmentSettings(), STRONG], ids=["standard", "strong"])
def test_no_step_waits_for_the_gpu(root, tmp_path, residency, augment):
    data = data_of(root, tmp_path, residency, augment)
    data.batch_size = 4
    data.supply.device = GPU
    # The last step waits, so that the epoch's time is whole: it is left out.
    trainer = L.Trainer(
        accelerator="gpu", devices=1, precision="bf16-mixed", max_epochs=1, limit_train_batches=3, logger=False,
        limit_val_batches=0, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path,
        callbacks=[*callbacks_of(tmp_path), WeightAverage(), Watched()],
    )  # fmt: skip
    try:
        trainer.fit(classifier_of(), datamodule=data)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.global_step == 3
