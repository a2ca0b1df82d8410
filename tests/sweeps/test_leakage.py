"""No trial sees the test split: its pictures are gone as soon as they are listed, and nobody notices."""

import json
import shutil

import pytest
from helpers import QUICK, compose_quick, rows_of

from dogbreed import UserError, fit_run
from dogbreed.datamodule import ImageDataModule

SEARCH = ("hydra/sweeper=dogbreed", "hydra.sweeper.n_trials=2", "optim.lr=tag(log,interval(1e-4,1e-2))")


@pytest.fixture
def vanishing(tree, tmp_path, monkeypatch):
    """The pictures; each run finds and lists those of the test split, which no decoder can read after that."""
    root = tmp_path / "pictures"
    shutil.copytree(tree, root)
    setup = ImageDataModule.setup

    def setup_and_hide(self, stage):
        shutil.copytree(tree / "test", root / "test", dirs_exist_ok=True)
        setup(self, stage)
        shutil.rmtree(root / "test")

    monkeypatch.setattr(ImageDataModule, "setup", setup_and_hide)
    return root


def test_who_reads_the_test_split_notices(vanishing, tmp_path):
    """A single run measures it; if that went well, the tests below would prove nothing."""
    with pytest.raises((UserError, OSError), match=r"test/blue/blue_\d\.jpg"):
        fit_run(compose_quick(vanishing, "trainer.max_epochs=1"), tmp_path / "run")


@pytest.mark.parametrize(
    "sweep",
    [
        ("optim.lr=1e-3,1e-2", "finetune=full"),
        pytest.param((*SEARCH, "finetune=full"), marks=pytest.mark.slow),
        SEARCH,
    ],
)
def test_no_trial_reads_it(vanishing, tmp_path, cli, sweep):
    place = tmp_path / "sweep"
    answer = cli("train", "-m", *QUICK, "data=folder", f"data.root={vanishing}", f"hydra.sweep.dir={place}", *sweep)
    assert answer.code == 0, answer.err
    trials = json.loads((place / "sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["completed"] * 2
    for trial in trials:
        folder = place / str(trial["run_folder"])
        assert "test" in {row["split"] for row in rows_of(folder / "splits.csv")}  # nobody has left it out
        assert not any(name.startswith("test/") for name in json.loads((folder / "metrics.json").read_text()))
        assert {row["split"] for row in rows_of(folder / "predictions.csv")} == {"valid"}
