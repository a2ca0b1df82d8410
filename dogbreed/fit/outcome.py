"""What a run has come to: measured, written down, printed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

from omegaconf import DictConfig, OmegaConf

from dogbreed.classifier import ImageClassifier
from dogbreed.datamodule import ImageDataModule
from dogbreed.files import write_csv, write_json
from dogbreed.fit.confusion import draw_confusion
from dogbreed.fit.curves import draw_curves
from dogbreed.fit.evaluation import TABLE_METRICS, SplitResult, evaluate_split
from dogbreed.fit.figures import save_figure
from dogbreed.fit.mistakes import MAX_MISTAKES, show_mistakes
from dogbreed.fit.record import EpochRecord
from dogbreed.fit.run_folder import RunFolder
from dogbreed.model_folder import save_model
from dogbreed.nets.calibration import fit_temperature
from dogbreed.nets.familiarity import Familiarity, reference_step
from dogbreed.tables import format_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What the kept weights say about the splits, and what is fitted on valid and training pictures.

    Args:
        valid: Result on the valid split.
        train: Result on some training pictures, spread over all of them.
        test: Result on the test split, where it was measured. Nothing is fitted on it.
    """

    valid: SplitResult
    train: SplitResult
    test: SplitResult | None = None

    @property
    def results(self) -> list[SplitResult]:
        """What is reported: whole splits that were not trained on."""
        return [self.valid, self.test] if self.test else [self.valid]

    @property
    def headline(self) -> SplitResult:
        """The split that people want to see: test, or valid where that was not measured."""
        return self.test or self.valid

    @cached_property
    def temperature(self) -> float:
        """What the logits are divided by, fitted on the valid split."""
        return fit_temperature(self.valid.logits_NK, self.valid.labels_N)

    @cached_property
    def familiarity(self) -> Familiarity | None:
        """What new pictures are compared with."""
        return Familiarity.of(self.train.features_ND, self.valid.features_ND)


def measure(classifier: ImageClassifier, data: ImageDataModule, *, with_test: bool) -> Outcome:
    """Run the trained network over valid, some of train, and test where that is wanted."""

    def result_on(split: str, step: int = 1) -> SplitResult:
        loader, num_classes = data.eval_dataloader(split, step), len(classifier.class_names)
        return evaluate_split(classifier.net, classifier.preprocessing, loader, split, num_classes)

    valid = result_on("valid")
    train = result_on("train", reference_step(len(data.index.split("train"))))
    if with_test and "test" not in data.index.splits:
        log.warning("data    there is no test split: nothing is measured on it.")
        with_test = False
    return Outcome(valid, train, result_on("test") if with_test else None)


def final_metrics(outcome: Outcome, record: EpochRecord, seconds: float, num_parameters: int) -> dict[str, float]:
    """Put together what ``metrics.json`` holds."""
    metrics: dict[str, float] = {}
    for result in outcome.results:
        metrics |= result.named_metrics(outcome.temperature)
    if record.rows:
        metrics |= {key: value for key, value in record.rows[-1].items() if key.startswith("train/")}
    return {**metrics, "seconds": seconds, "num_parameters": num_parameters, **record.totals}


def write_down(
    cfg: DictConfig,
    folder: RunFolder,
    classifier: ImageClassifier,
    data: ImageDataModule,
    outcome: Outcome,
    metrics: dict[str, float],
    record: EpochRecord,
    best_epoch: int | None,
) -> None:
    """Write the model folder, tables, pictures and, when all that is there, metrics."""
    save_model(
        folder.model,
        classifier,
        temperature=outcome.temperature,
        familiarity=outcome.familiarity,
        metrics=metrics,
        example=outcome.valid.best_example(data.index),
        training_config=OmegaConf.to_yaml(cfg),
    )
    write_tables(folder, outcome, data)
    draw_curves(record.rows, folder.curves_png, best_epoch)
    shown = outcome.headline
    save_figure(draw_confusion(shown.confusion_KK, data.class_names, shown.split), folder.confusion_png)
    mistakes = [
        mistake
        for result in outcome.results
        for mistake in result.mistakes(data.index, outcome.temperature, MAX_MISTAKES)
    ]
    mistakes.sort(key=lambda mistake: -mistake.probability)
    show_mistakes(mistakes, folder.thumbs, folder.mistakes_png)
    write_json(folder.metrics_json, metrics)


def write_tables(folder: RunFolder, outcome: Outcome, data: ImageDataModule) -> None:
    """Write a row a picture, a row a class and a row for each cell of the confusion matrices that is not 0."""
    predictions, classes, cells = [], [], []
    for result in outcome.results:
        predictions += result.prediction_rows(data.index, outcome.temperature)
        classes += result.class_rows(data.class_names)
        cells += result.confusion_rows(data.class_names)
    write_csv(folder.predictions_csv, predictions)
    write_csv(folder.classes_csv, classes)
    write_csv(folder.confusion_csv, cells)


def report(folder: RunFolder, outcome: Outcome, metrics: dict[str, float], class_names: tuple[str, ...]) -> None:
    """Print the table of results and the weakest classes."""
    splits = [split for split in ("train", "val", "test") if f"{split}/loss" in metrics]
    table = format_table(
        ["split", *TABLE_METRICS],
        [[split, *(metrics.get(f"{split}/{name}") for name in TABLE_METRICS)] for split in splits],
    )
    log.info(
        "\n%s\n\n%s\n\n%s\n%s",
        table,
        outcome.headline.weakest_classes(class_names),
        _speed(metrics),
        f"results {folder.path}",
    )


def _speed(metrics: dict[str, float]) -> str:
    parts = [
        f"{metrics['seconds']:.0f} s",
        f"{metrics['images_per_second']:.0f} images/s in training",
        f"{100 * metrics['data_wait_share']:.0f} % of it waiting for data",
        f"at most {metrics['peak_memory_gb']:.1f} GB of memory",
    ]
    if "flop_utilization" in metrics:
        parts.append(f"{100 * metrics['flop_utilization']:.0f} % of the GPU's arithmetic")
    return ", ".join(parts)
