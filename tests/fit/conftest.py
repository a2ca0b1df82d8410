"""Runs that are interrupted, and pictures that devices cannot share evenly."""

import time

import children
import pytest
import timm
import torch
from helpers import QUICK, make_tree, once
from safetensors.torch import save_file


@pytest.fixture(scope="session")
def weights(tmp_path_factory):

    def make(folder):
        torch.manual_seed(7)
        save_file(timm.create_model("test_resnet").state_dict(), folder / "tiny.safetensors")
        return folder / "tiny.safetensors"

    return once(tmp_path_factory, "weights", make)


@pytest.fixture(scope="session")
def options(tree, weights):
    """Two phases, statistics that move, dropout, accumulation, and a checkpoint after every step."""
    return [
        *QUICK,
        "data=folder",
        f"data.root='{tree}'",
        f"model.weights='{weights}'",
        "finetune=head_then_full",
        "finetune.batchnorm=train",
        "model.dropout=0.3",
        "trainer.accumulate_grad_batches=2",
        "data.batch_size=4",
        "trainer.max_epochs=4",
        "checkpoint_every_s=0",
        "data.cache=none",  # whose writing would be counted among the moments to die in
    ]


@pytest.fixture(scope="session")
def uninterrupted(options, tmp_path_factory):
    """The outcome of a run that nothing disturbs, and how long it takes."""

    def make(folder):
        assert children.run(options, folder / "run") == 0
        started = time.monotonic()
        assert children.run(options, folder / "again") == 0
        seconds = time.monotonic() - started
        outcome = children.outcome(folder / "run")
        assert outcome == children.outcome(folder / "again")  # the same seed gives the same numbers
        return outcome, seconds

    return once(tmp_path_factory, "uninterrupted", make)


@pytest.fixture(scope="session")
def odd_tree(tmp_path_factory):
    """Splits that two devices cannot share evenly: 24, 9 and 15 pictures."""
    return make_tree(tmp_path_factory.mktemp("pictures") / "odd", {"train": 8, "valid": 3, "test": 5})
