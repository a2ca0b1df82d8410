"""`fit_run`: from a configuration to a run folder; the same for a shell, a sweep, an import and a cloud job."""

from __future__ import annotations

import logging
import math
import textwrap
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerStatus
from omegaconf import DictConfig

from dogbreed.classifier import ImageClassifier
from dogbreed.config import objectives, resolve
from dogbreed.datamodule import ImageDataModule
from dogbreed.errors import UserError
from dogbreed.files import write_csv
from dogbreed.fit.board import show_outcome
from dogbreed.fit.build import build, build_trainer
from dogbreed.fit.outcome import final_metrics, measure, report, write_down
from dogbreed.fit.record import EpochRecord
from dogbreed.fit.run_folder import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Args:
        metrics: Final numbers by flat name: ``val/acc_top1``, ``test/loss``, ``seconds``, …
        objective: Value of the configuration's objective, or values for a list.
        run_dir: The run folder.
        model_dir: The model folder in it, for `dogbreed.load_model`.
    """

    metrics: dict[str, float]
    objective: float | list[float]
    run_dir: Path
    model_dir: Path


def fit_run(cfg: DictConfig, run_dir: str | Path, *, is_trial: bool = False) -> RunResult:
    """Train, keep the best weights, measure them, and write everything down.

    Args:
        cfg: From `dogbreed.compose` or the command line; ``auto`` values allowed.
        run_dir: The run folder; made if it is not there.
        is_trial: The run is one of a sweep: by default it does not see the test split.

    Returns:
        Final metrics, the objective and where things are.

    Raises:
        UserError: the configuration, the data, the weights or the disk are not fit for it.
    """
    run_dir = Path(run_dir)
    # Trials would write over each other's.
    checkpoint_dir = Path(cfg.checkpoint_dir, run_dir.name) if cfg.checkpoint_dir and is_trial else cfg.checkpoint_dir
    folder = RunFolder(run_dir, checkpoint_dir)
    with folder.occupied():
        started = time.perf_counter()
        cfg, decided = resolve(cfg, is_trial=is_trial)
        _announce(cfg, decided, folder)
        data, classifier = build(cfg)
        write_csv(folder.splits_csv, data.index.rows())
        record = EpochRecord(folder.metrics_csv, data.batch_size)
        trainer = build_trainer(cfg, folder, record)
        best_epoch = _fit(trainer, classifier, data)
        outcome = measure(classifier, data, with_test=cfg.test_after_fit)
        metrics = final_metrics(outcome, record, time.perf_counter() - started)
        show_outcome(trainer.loggers, outcome.results, metrics, data.class_names, trainer.global_step)
        write_down(cfg, folder, classifier, data, outcome, metrics, record, best_epoch)
        report(folder, outcome, metrics, data.class_names)
    values = [metrics.get(name, math.nan) for name in objectives(cfg)]
    return RunResult(metrics, values[0] if isinstance(cfg.objective, str) else values, folder.path, folder.model)


def _announce(cfg: DictConfig, decided: dict[str, Any], folder: RunFolder) -> None:
    # Lightning's advice is about what we have decided already.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    source = (cfg.data.source or {}).get("_target_", "")
    if cfg.data.root is None and source.endswith(".SampleSource"):
        log.info(
            "sample  built-in cartoon dogs; your photographs: data=folder data.root=DIR, 133 dog breeds: data=dogimages"
        )
    if decided:
        settled = "  ".join(f"{key}={_as_yaml(value)}" for key, value in decided.items())
        log.info("%s", textwrap.fill(f"auto    {settled}", width=110, subsequent_indent=" " * 8))
    log.info("run     %s", folder.path)


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fit(trainer: L.Trainer, classifier: ImageClassifier, data: ImageDataModule) -> int | None:
    """Train and go back to the best checkpoint; return its epoch, counted from 1."""
    try:
        trainer.fit(classifier, datamodule=data)
    except torch.OutOfMemoryError as error:
        msg = (
            f"The memory of {trainer.strategy.root_device} does not hold a batch of {data.batch_size} pictures: lower "
            "data.batch_size and raise trainer.accumulate_grad_batches by the same factor."
        )
        raise UserError(msg) from error
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error
    if trainer.state.status == TrainerStatus.INTERRUPTED:
        raise KeyboardInterrupt
    kept = next(c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
    # Float32, as the model folder will hold it, after precision=bf16-true; on the device, from which Lightning
    # takes the module when training ends.
    classifier.to(trainer.strategy.root_device, torch.float32)
    if not kept.best_model_path:  # fast_dev_run keeps none
        return None
    best = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    classifier.load_state_dict(best["state_dict"])
    return int(best["epoch"]) + 1
