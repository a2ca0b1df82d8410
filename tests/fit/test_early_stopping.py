"""A run that gets no better ends, and says why."""

import csv
import logging

import pytest
from helpers import QUICK

from dogbreed import UserError, compose, fit_run
from dogbreed.fit.early_stopping import EarlyStopping


def test_a_run_that_gets_no_better_ends(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    more = ["early_stopping=default", "early_stopping.patience=2", "early_stopping.min_delta=0.5", "objective=val/loss"]
    overrides = [*QUICK, "data=folder", f"data.root='{tree}'", "trainer.max_epochs=20", "optim.lr=1e-5", *more]
    fit_run(compose(overrides), tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == [1, 2, 3]
    assert "stopped after epoch 3: val/loss got no better for 2 validations" in caplog.text


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"min_delta": -0.1}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(UserError, match=f"early_stopping.{next(iter(wrong))}="):
        EarlyStopping("val/loss", **wrong)
