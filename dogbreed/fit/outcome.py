"""What a run has come to: measured, written down, printed."""

from __future__ import annotations

import logging

from omegaconf import DictConfig, OmegaConf

from dogbreed.classifier import ImageClassifier
from dogbreed.datamodule import ImageDataModule
from dogbreed.files import write_csv, write_json
from dogbreed.fit.curves import draw_curves
from dogbreed.fit.evaluation import SplitResult, evaluate_split
from dogbreed.fit.record import EpochRecord
from dogbreed.fit.run_folder import RunFolder
from dogbreed.model_folder import save_model
from dogbreed.nets.calibration import fit_temperature
from dogbreed.tables import format_table

log = logging.getLogger(__name__)


def measure(classifier: ImageClassifier, data: ImageDataModule, *, with_test: bool) -> list[SplitResult]:
    """Run the trained network over the valid split, and the test split where that is wanted."""
    splits = ["valid"]
    if with_test and "test" in data.index.splits:
        splits.append("test")
    elif with_test:
        log.warning("data    there is no test split: nothing is measured on it.")
    num_classes = len(classifier.class_names)
    return [
        evaluate_split(classifier.net, classifier.preprocessing, data.eval_dataloader(split), split, num_classes)
        for split in splits
    ]


def final_metrics(results: list[SplitResult], record: EpochRecord, seconds: float) -> dict[str, float]:
    """Put together what ``metrics.json`` holds."""
    metrics: dict[str, float] = {}
    for result in results:
        metrics |= result.named_metrics()
    if record.rows:
        metrics |= {key: value for key, value in record.rows[-1].items() if key.startswith("train/")}
    return {**metrics, "seconds": seconds, **record.totals}


def write_down(
    cfg: DictConfig,
    folder: RunFolder,
    classifier: ImageClassifier,
    data: ImageDataModule,
    results: list[SplitResult],
    metrics: dict[str, float],
    record: EpochRecord,
    best_epoch: int | None,
) -> None:
    """Write the model folder, predictions, curves and metrics."""
    temperature = fit_temperature(results[0].logits_NK, results[0].labels_N)
    save_model(
        folder.model,
        classifier,
        temperature=temperature,
        metrics=metrics,
        example=results[0].best_example(data.index),
        training_config=OmegaConf.to_yaml(cfg),
    )
    rows = [row for result in results for row in result.prediction_rows(data.index, temperature)]
    write_csv(folder.predictions_csv, rows)
    rows = [row for result in results for row in result.confusion_rows(data.class_names)]
    write_csv(folder.confusion_csv, rows)
    draw_curves(record.rows, folder.curves_png, best_epoch)
    write_json(folder.metrics_json, metrics)


def report(folder: RunFolder, metrics: dict[str, float]) -> None:
    """Print the table of results."""
    names = ("acc_top1", "acc_top5", "f1_macro", "loss")
    splits = [split for split in ("train", "val", "test") if f"{split}/loss" in metrics]
    table = format_table(
        ["split", *names], [[split, *(metrics[f"{split}/{name}"] for name in names)] for split in splits]
    )
    log.info(
        "\n%s\n\n%.0f s, %.0f images/s, %.0f %% of it waiting for data\n%s",
        table,
        metrics["seconds"],
        metrics["images_per_second"],
        100 * metrics["data_wait_share"],
        f"results {folder.path}",
    )
