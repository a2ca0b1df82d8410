"""Pictures that live on the device give the batches that loaded ones give; the CPU stands in for it here."""

import pytest
import torch
from helpers import compose_quick, save_picture

from dogbreed import AugmentSettings, ImageDataModule, Preprocessing, UserError, fit_run
from dogbreed.data.mix import MixSettings

STRONG = AugmentSettings(
    crop_scale=(0.25, 1.0), num_distortions=2, erase_probability=0.5, mix=MixSettings(0.5, 0.4, 1.0)
)
# Crops as large as the network's input, somewhere in larger pictures.
EXACT = AugmentSettings(crop_scale=(0.64, 0.64), crop_ratio=(1.0, 1.0), flip_probability=0.0)
UNCUT = AugmentSettings(crop=False, flip_probability=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    sizes = [(48, 40), (70, 50), (33, 90), (64, 64), (120, 45), (32, 32)]
    for split, count in (("train", 6), ("valid", 3)):
        for color, name in (((200, 30, 30), "red"), ((30, 30, 200), "blue")):
            for number in range(count):
                save_picture(folder / split / name / f"{number}.jpg", color, number, sizes[number % len(sizes)])
    return folder


def module(root, tmp_path, residency, augment=None, **more):
    options = {"preprocessing": Preprocessing(32, 36), "batch_size": 4, "cache": tmp_path / "cache", **more}
    data = ImageDataModule(root, augment=augment, residency=residency, **options)
    data.supply.device = torch.device("cpu")
    return data


def batches(data, split="train"):
    loader = data.train_dataloader() if split == "train" else data.eval_dataloader(split)
    seen = []
    for epoch in range(2):
        if split == "train":
            loader.sampler.set_epoch(epoch)
        seen += [data.on_after_batch_transfer(batch, 0) for batch in loader]
    return seen


@pytest.mark.parametrize("augment", [AugmentSettings(), STRONG, UNCUT], ids=["standard", "strong", "uncut"])
def test_training_batches_are_the_same(root, tmp_path, augment):
    loaded, resident = (batches(module(root, tmp_path, where, augment)) for where in ("host", "device"))
    assert len(loaded) == len(resident) == 6
    for theirs, ours in zip(loaded, resident, strict=True):
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.indices, theirs.indices)
        difference = (ours.images.int() - theirs.images.int()).abs()
        # A level more or less before a picture is equalised or posterised is more after it.
        assert difference.float().mean() < (1.5 if augment is STRONG else 0.3)
        assert augment is STRONG or (difference.max() <= 2 and (difference <= 1).float().mean() > 0.9999)
        if augment is STRONG:
            torch.testing.assert_close(ours.shares, theirs.shares)


def test_evaluation_sees_the_same_pixels(root, tmp_path):
    plain = batches(module(root, tmp_path, "host"), "valid")
    data = module(root, tmp_path, "device")
    assert data.eval_dataloader("valid").dataset.resident.pixels_PC.shape == (6 * 32 * 32, 3)
    for theirs, ours in zip(plain, batches(data, "valid"), strict=True):
        assert torch.equal(ours.images, theirs.images)


def test_crops_that_need_no_resizing_are_cut_all_the_same(tmp_path):
    for name in ("red", "blue"):
        for number in range(4):
            save_picture(tmp_path / "data" / "train" / name / f"{number}.jpg", (90, 90, 90), number, (64, 64))
    folder = tmp_path / "data"
    loaded, resident = (
        batches(module(folder, tmp_path, where, EXACT, preprocessing=Preprocessing(20, 22)))
        for where in ("host", "device")
    )
    for theirs, ours in zip(loaded, resident, strict=True):
        assert (ours.images.int() - theirs.images.int()).abs().max() <= 2


def test_what_is_not_in_the_cache_is_loaded(root, tmp_path):
    data = module(root, tmp_path, "device", AugmentSettings(), cache_max_gb=1e-5)
    assert not hasattr(data.train_dataloader().dataset, "resident")
    assert len(batches(data)) == 6


def test_a_run_on_resident_pictures(tree, tmp_path):
    runs = [fit_run(compose_quick(tree, f"data.residency={where}"), tmp_path / where) for where in ("host", "device")]
    for name in ("val/loss", "test/loss", "train/loss"):
        assert runs[1].metrics[name] == pytest.approx(runs[0].metrics[name], abs=0.02)


def test_unknown_places(root):
    with pytest.raises(UserError, match=r"data\.residency=gpu is unknown; use auto, device or host"):
        ImageDataModule(root, residency="gpu")
