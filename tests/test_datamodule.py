"""Loaders over real files."""

import pytest
import torch
from helpers import make_tree

from dogbreed import AugmentSettings, ImageDataModule, UserError
from dogbreed.data.sample import SampleSource


def test_every_picture_once_in_evaluation(tree):
    data = ImageDataModule(tree, batch_size=5, num_workers=1)
    for split, count in (("valid", 9), ("test", 12), ("train", 24)):
        indices = torch.cat([batch.indices for batch in data.eval_dataloader(split)])
        assert indices.tolist() == list(range(count))


def test_every_picture_at_most_once_in_training(tree):
    data = ImageDataModule(tree, batch_size=5, augment=AugmentSettings())
    loader = data.train_dataloader()
    orders = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        indices = torch.cat([batch.indices for batch in loader])
        assert len(indices) == 20
        assert len(set(indices.tolist())) == 20
        orders.append(indices.tolist())
    assert orders[0] != orders[1] != orders[2]


def test_labels_follow_the_folders(tree):
    data = ImageDataModule(tree, batch_size=4)
    for batch in data.eval_dataloader("train"):
        for label, index in zip(batch.labels, batch.indices, strict=True):
            assert data.index.split("train").path(int(index)).parent.name == data.class_names[label]


def test_a_source_is_asked_when_it_is_needed(tmp_path):
    source = SampleSource(1, 1, 1, folder=str(tmp_path / "sample"))
    data = ImageDataModule(source=source, batch_size=4)
    assert not (tmp_path / "sample").exists()
    data.setup("fit")
    assert data.index.counts() == {"train": 12, "valid": 12, "test": 12}


def test_wrong_arguments(tree, tmp_path):
    with pytest.raises(UserError, match=r"data.root=DIR"):
        ImageDataModule()
    with pytest.raises(UserError, match=r"data.batch_size=0"):
        ImageDataModule(tree, batch_size=0)
    with pytest.raises(UserError, match=r"data.batch_size=25 is larger than the training split \(24 pictures\)"):
        ImageDataModule(tree, batch_size=25).setup("fit")
    with pytest.raises(UserError, match="no test split; it has train, valid"):
        ImageDataModule(make_tree(tmp_path, {"train": 2, "valid": 1})).test_dataloader()
    with pytest.raises(UserError, match=r"data.valid_fraction=0.6 and data.test_fraction=0.5"):
        ImageDataModule(tree, valid_fraction=0.6, test_fraction=0.5)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_file_that_broke_since_the_scan(tmp_path, num_workers):
    from dogbreed.errors import sentence_of

    make_tree(tmp_path, {"train": 2, "valid": 1})
    data = ImageDataModule(tmp_path, batch_size=2, num_workers=num_workers)
    data.setup("fit")
    (tmp_path / "train/red/red_1.jpg").write_bytes(b"gone")
    with pytest.raises(UserError) as error:
        list(data.train_dataloader())
    assert sentence_of(error.value).startswith(str(tmp_path / "train/red/red_1.jpg"))
    assert "not an image" in sentence_of(error.value)


def test_every_so_many_th_picture_of_a_split(tree):
    data = ImageDataModule(tree, batch_size=4)
    indices = [int(index) for batch in data.eval_dataloader("train", step=5) for index in batch.indices]
    assert indices == [0, 5, 10, 15, 20]
    assert sum(len(batch.labels) for batch in data.eval_dataloader("train")) == 24
