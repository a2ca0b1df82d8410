"""The run folder: what is in it, who may write to it, and what a run that went wrong leaves behind."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from helpers import compose_quick, make_tree, rows_of, save_picture
from PIL import Image

from dogbreed import ImageClassifier, fit_run, load_model
from dogbreed.fit.checkpoint_file import read_checkpoint
from dogbreed.fit.run_folder import RunFolder
from dogbreed.model_folder import verify_model

# -- a finished run ----------------------------------------------------------


def test_everything_that_the_contract_names_is_there(finished_run):
    names = {path.name for path in finished_run.run_dir.iterdir()}
    files = {"metrics.json", "metrics.csv", "curves.png", "predictions.csv", "confusion.csv", "splits.csv", "run.json"}
    files |= {"classes.csv", "confusion.png", "config.yaml", "diagnosis.json", "steps.csv", "system.csv"}
    files |= {"report.html"}
    if any(row["label"] != row["predicted"] for row in rows_of(finished_run.run_dir / "predictions.csv")):
        files |= {"thumbs", "mistakes.png"}
    assert names == files | {"checkpoints", "model", "tensorboard"}  # and run.lock is gone
    model = {path.name for path in finished_run.model_dir.iterdir()}
    weights = {"model.safetensors", "familiarity.safetensors"}
    assert model == weights | {"model.json", "training_config.yaml", "example.jpg", "example.json"}
    assert {path.name for path in (finished_run.run_dir / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert any("tfevents" in path.name for path in (finished_run.run_dir / "tensorboard").rglob("*"))
    assert RunFolder(finished_run.run_dir).state()["state"] == "completed"


def test_a_trial_of_a_sweep_draws_nothing_and_saves_no_more_than_it_must(tree, tmp_path):
    cfg = compose_quick(tree, "trainer.max_epochs=4")
    trial = fit_run(cfg, tmp_path / "trial", is_trial=True)
    assert not {"curves.png", "confusion.png", "mistakes.png", "thumbs"} & {
        path.name for path in trial.run_dir.iterdir()
    }
    assert {"predictions.csv", "confusion.csv", "metrics.csv"} <= {path.name for path in trial.run_dir.iterdir()}
    last = read_checkpoint(trial.run_dir / "checkpoints" / "last.ckpt")
    assert last["run"]["is_finished"]
    assert (
        read_checkpoint(trial.run_dir / "checkpoints" / "best.ckpt")["state_dict"].keys() == last["state_dict"].keys()
    )
    cfg.pictures = True
    assert (fit_run(cfg, tmp_path / "drawn", is_trial=True).run_dir / "curves.png").is_file()


def test_metrics_are_those_of_the_predictions(finished_run):
    metrics = json.loads((finished_run.run_dir / "metrics.json").read_text())
    assert metrics == finished_run.metrics
    rows = rows_of(finished_run.run_dir / "predictions.csv")
    for split, prefix, count in (("valid", "val", 9), ("test", "test", 12)):
        own = [row for row in rows if row["split"] == split]
        assert len(own) == len({row["file"] for row in own}) == count
        share = sum(row["label"] == row["predicted"] for row in own) / count
        assert metrics[f"{prefix}/acc_top1"] == pytest.approx(share)
        assert all(0 < float(row["probability"]) <= 1 for row in own)
    assert {"train/acc_top1", "val/loss", "test/f1_macro", "seconds", "images_per_second"} <= metrics.keys()
    assert 0 <= metrics["data_wait_share"] <= 1
    assert 0.1 < metrics["peak_memory_gb"] < 100


def test_the_confusion_matrix_is_that_of_the_predictions(finished_run):
    counted = {}
    for row in rows_of(finished_run.run_dir / "predictions.csv"):
        cell = (row["split"], row["label"], row["predicted"])
        counted[cell] = counted.get(cell, 0) + 1
    rows = rows_of(finished_run.run_dir / "confusion.csv")
    assert {(row["split"], row["label"], row["predicted"]): int(row["count"]) for row in rows} == counted


def test_numbers_per_class_are_those_of_the_predictions(finished_run):
    predictions = rows_of(finished_run.run_dir / "predictions.csv")
    rows = rows_of(finished_run.run_dir / "classes.csv")
    assert [(row["split"], row["class"]) for row in rows] == [
        (split, name) for split in ("valid", "test") for name in ("blue", "green", "red")
    ]
    for row in rows:
        own = [item for item in predictions if item["split"] == row["split"]]
        true = sum(item["label"] == row["class"] for item in own)
        predicted = sum(item["predicted"] == row["class"] for item in own)
        hits = sum(item["label"] == item["predicted"] == row["class"] for item in own)
        assert int(row["pictures"]) == true
        assert float(row["recall"]) == pytest.approx(hits / true, abs=1e-5)
        assert float(row["f1"]) == pytest.approx(2 * hits / (true + predicted), abs=1e-5)
        if predicted:
            assert float(row["precision"]) == pytest.approx(hits / predicted, abs=1e-5)
        else:
            assert row["precision"] == ""


def test_the_calibration_error_is_that_of_the_predictions(finished_run):
    """Of what predictions.csv says: the probabilities there are after temperature."""
    for split, prefix in (("valid", "val"), ("test", "test")):
        own = [row for row in rows_of(finished_run.run_dir / "predictions.csv") if row["split"] == split]
        bins = {}
        for row in own:
            sure = float(row["probability"])
            bins.setdefault(math.ceil(sure * 15), []).append((row["label"] == row["predicted"]) - sure)
        error = sum(abs(sum(gaps)) for gaps in bins.values()) / len(own)
        assert finished_run.metrics[f"{prefix}/ece"] == pytest.approx(error, abs=1e-5)
        assert 0 <= finished_run.metrics[f"{prefix}/ece_uncalibrated"] <= 1


def test_the_test_split_decides_nothing(tree, tmp_path):
    """Another test split: other test numbers, the very same model folder."""
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    for number, path in enumerate(sorted((other / "test").rglob("*.jpg"))):
        save_picture(path, (number * 20, 90, 10), 77 + number)
    runs = [fit_run(compose_quick(root), tmp_path / name) for root, name in ((tree, "a"), (other, "b"))]
    infos = [json.loads((run.model_dir / "model.json").read_text()) for run in runs]
    assert runs[0].metrics["test/loss"] != runs[1].metrics["test/loss"]
    for key in ("calibration_temperature", "familiarity", "weights_sha256"):
        assert infos[0][key] == infos[1][key]
    assert (infos[0]["familiarity"]["num_references"], infos[0]["familiarity"]["num_held_out"]) == (24, 9)


def test_a_row_an_epoch(finished_run):
    rows = rows_of(finished_run.run_dir / "metrics.csv")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12]
    assert float(rows[0]["images_per_second"]) > 0
    assert {"train/loss", "val/acc_top1", "lr/head", "lr/backbone"} <= rows[0].keys()


def test_best_is_the_best_and_last_is_the_last(finished_run):
    checkpoints = finished_run.run_dir / "checkpoints"
    best, last = (torch.load(checkpoints / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    accuracy = [float(row["val/acc_top1"]) for row in rows_of(finished_run.run_dir / "metrics.csv")]
    assert last["epoch"] == 3
    assert accuracy[best["epoch"]] == max(accuracy)
    assert finished_run.metrics["val/acc_top1"] == pytest.approx(max(accuracy), abs=1e-5)
    # The model folder holds the best weights, not the last.
    net = load_model(finished_run.run_dir).net.state_dict()
    assert all(torch.equal(best["state_dict"][f"net.{name}"], tensor) for name, tensor in net.items())


def test_a_checkpoint_loads_where_nothing_of_ours_but_the_class_is_known(finished_run):
    file = finished_run.run_dir / "checkpoints" / "best.ckpt"
    model = ImageClassifier.load_from_checkpoint(file, map_location="cpu", weights_only=True)
    assert model.class_names == ("blue", "green", "red")


def test_the_curves_are_a_picture_with_curves(finished_run):
    with Image.open(finished_run.run_dir / "curves.png") as picture:
        assert picture.width > 1000
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in ((0x9A, 0xA5, 0xB1), (0xC2, 0x41, 0x0C)):
        assert (np.abs(pixels.astype(int) - color).max(axis=1) < 10).sum() > 200


def test_the_model_folder_answers_as_it_did(finished_run):
    assert verify_model(finished_run.run_dir) < 1e-5


# -- what the numbers depend on ----------------------------------------------


def numbers(metrics):
    return {key: value for key, value in metrics.items() if key.startswith(("train/", "val/", "test/"))}


def test_the_same_seed_gives_the_same_numbers_whatever_loads_the_data(tree, tmp_path):
    runs = [
        fit_run(compose_quick(tree, f"seed={seed}", f"data.num_workers={workers}"), tmp_path / str(number))
        for number, (seed, workers) in enumerate([(0, 0), (0, 2), (1, 0)])
    ]
    assert numbers(runs[0].metrics) == numbers(runs[1].metrics)
    assert numbers(runs[0].metrics) != numbers(runs[2].metrics)


def test_a_run_without_a_seed_is_a_run(tree, tmp_path):
    assert fit_run(compose_quick(tree, "seed=null"), tmp_path / "run").metrics["val/loss"] > 0


def test_a_trial_leaves_the_test_split_alone(tree, tmp_path):
    result = fit_run(compose_quick(tree), tmp_path / "run", is_trial=True)
    assert not any(key.startswith("test/") for key in result.metrics)
    assert {row["split"] for row in rows_of(result.run_dir / "predictions.csv")} == {"valid"}


def test_objective_drives_what_is_kept_and_what_is_returned(tree, tmp_path):
    result = fit_run(compose_quick(tree, "objective=[val/loss,seconds]", "trainer.max_epochs=3"), tmp_path / "run")
    losses = [float(row["val/loss"]) for row in rows_of(result.run_dir / "metrics.csv")]
    best = torch.load(result.run_dir / "checkpoints" / "best.ckpt", weights_only=True)
    assert losses[best["epoch"]] == min(losses)
    assert result.objective == [result.metrics["val/loss"], result.metrics["seconds"]]


def test_data_without_a_test_split(tmp_path):
    root = make_tree(tmp_path / "two", {"train": 8, "valid": 3})
    result = fit_run(compose_quick(root), tmp_path / "run")
    assert "val/acc_top1" in result.metrics
    assert "test/acc_top1" not in result.metrics


def test_checkpoints_can_live_elsewhere(tree, tmp_path):
    fit_run(compose_quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'"), tmp_path / "run")
    assert (tmp_path / "kept" / "best.ckpt").is_file()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_finished_runs_checkpoints_are_no_beginning(tree, tmp_path):
    cfg = compose_quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'")
    first = fit_run(cfg, tmp_path / "first")
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"best.ckpt", "finished.ckpt"}
    second = fit_run(cfg, tmp_path / "second")
    assert second.metrics["images_per_second"] != first.metrics["images_per_second"]  # trained, not just measured
    assert numbers(second.metrics) == numbers(first.metrics)
    assert fit_run(compose_quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'", "seed=5"), tmp_path / "third").metrics


def test_trials_do_not_share_their_checkpoints(tree, tmp_path):
    fit_run(compose_quick(tree, f"checkpoint_dir='{tmp_path / 'kept'}'"), tmp_path / "7", is_trial=True)
    assert (tmp_path / "kept" / "7" / "best.ckpt").is_file()


def test_epochs_without_validation_have_no_validation_numbers(tree, tmp_path):
    more = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4", "pictures=true")
    result = fit_run(compose_quick(tree, *more), tmp_path / "run")
    rows = rows_of(result.run_dir / "metrics.csv")
    assert [bool(row["val/loss"]) for row in rows] == [False, True, False, True]
    assert (result.run_dir / "curves.png").is_file()


def test_sums_keep_their_precision_where_weights_do_not(tmp_path):
    """bfloat16 counts no further than 256 by ones."""
    from dogbreed.nets.metrics import ClassificationMetrics

    metrics = ClassificationMetrics(2).to(torch.bfloat16)
    metrics.reset()
    for _ in range(600):
        metrics.update(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), torch.tensor(1.0))
    assert metrics.compute()["loss"] == 1.0


def test_files_whose_names_are_no_utf8(tmp_path):
    root = make_tree(tmp_path / "pictures", {"train": 4, "valid": 2})
    odd = root / "valid" / "red" / os.fsdecode(b"caf\xe9.jpg")
    try:
        (root / "valid" / "red" / "red_0.jpg").rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    result = fit_run(compose_quick(root, "trainer=debug", "data.batch_size=4"), tmp_path / "run")
    assert b"caf\xe9.jpg" in (result.run_dir / "predictions.csv").read_bytes()


def test_gradient_accumulation_and_fast_dev_run(tree, tmp_path):
    fit_run(compose_quick(tree, "trainer.accumulate_grad_batches=2"), tmp_path / "a")
    assert fit_run(compose_quick(tree, "trainer.fast_dev_run=true"), tmp_path / "b").metrics["val/loss"] > 0


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true", "bf16-true", "64-true"])
@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_clipping_at_every_precision(tree, tmp_path, precision, optim):
    more = (f"trainer.precision={precision}", f"optim={optim}", "trainer=debug", "trainer.gradient_clip_val=1.0")
    assert fit_run(compose_quick(tree, *more), tmp_path / "run").metrics["val/loss"] > 0
