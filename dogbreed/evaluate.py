"""Evaluate: ``python -m dogbreed.evaluate run=runs/NAME split=test``."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed.command import run_hydra_command, run_program
from dogbreed.errors import UserError
from dogbreed.imports import importing
from dogbreed.run_files import CLASSES_CSV, CONFUSION_CSV, METRICS_JSON, PREDICTIONS_CSV, SPLITS_CSV

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dogbreed.datamodule import ImageDataModule
    from dogbreed.loaded_model import LoadedModel

log = logging.getLogger(__name__)

KEY_TYPES = {
    "run": str,
    "split": str,
    "data_root": str | None,
    "batch_size": int | None,
    "accelerator": str,
    "num_workers": int,
}


def main() -> None:
    """Run the command line."""
    run_hydra_command("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Measure a run's model on a split and write the answers beside it.

    Args:
        cfg: ``run``, ``split``, ``data_root``, ``batch_size``, ``accelerator``, ``num_workers``.

    Returns:
        Metrics such as ``test/acc_top1``.

    Raises:
        UserError: no finished run, no such split, or other classes than the model's.
    """
    with importing():
        from dogbreed.config import check_present, check_types
        from dogbreed.files import write_csv, write_json
        from dogbreed.fit.evaluation import TABLE_METRICS, evaluate_split
        from dogbreed.model_folder import find_model_folder, load_model
        from dogbreed.tables import format_table

    check_present(cfg)
    check_types(cfg, KEY_TYPES, {"num_workers"})
    model_dir = find_model_folder(cfg.run)
    model = load_model(model_dir, _device(cfg.accelerator))
    data = _build_data(cfg, model_dir, model)
    index = data.index
    for sentence in index.report.warnings():
        log.warning("data    %s", sentence)
    loader = data.eval_dataloader(cfg.split)
    result = evaluate_split(model.net, model.preprocessing, loader, cfg.split, len(model.class_names))

    # Beside the model folder, which others read and nobody adds to.
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = model_dir.parent / "evaluations" / f"{stamp}_{cfg.split}"
    folder.mkdir(parents=True)
    write_csv(folder / PREDICTIONS_CSV, result.prediction_rows(index, model.temperature))
    write_csv(folder / CONFUSION_CSV, result.confusion_rows(model.class_names))
    write_csv(folder / CLASSES_CSV, result.class_rows(model.class_names))
    metrics = result.named_metrics(model.temperature)
    write_json(folder / METRICS_JSON, metrics)

    row = [cfg.split, len(index.split(cfg.split)), *(metrics[f"{result.prefix}/{name}"] for name in TABLE_METRICS)]
    log.info("\n%s\n", format_table(["split", "pictures", *TABLE_METRICS], [row]))
    log.info("%s\n\nresults %s", result.weakest_classes(model.class_names), folder)
    return metrics


def _build_data(cfg: DictConfig, model_dir: Path, model: LoadedModel) -> ImageDataModule:
    from omegaconf import OmegaConf

    from dogbreed.config import auto_workers, keeps_pixels
    from dogbreed.fit.build import instantiate

    file = model_dir / "training_config.yaml"
    trained = OmegaConf.load(file) if file.is_file() else OmegaConf.create({})
    if "data" not in trained:
        msg = f"{file} does not say what the model was trained on: evaluate a run folder."
        raise UserError(msg)
    node = trained.data
    everything_in = None
    if cfg.data_root is not None:
        node.update(root=cfg.data_root, manifest=None, source=None)
        everything_in = cfg.split
    if cfg.batch_size is not None:
        node.update(batch_size=cfg.batch_size, micro_batch_size=None)
    node.num_workers = cfg.num_workers
    if node.num_workers == "auto":
        node.num_workers = auto_workers(cfg.accelerator, is_cached=keeps_pixels(node))
    node.pop("class_names", None)
    data: ImageDataModule = instantiate(
        node, preprocessing=model.preprocessing, class_names=model.class_names, everything_in=everything_in
    )
    splits_csv = model_dir.parent / SPLITS_CSV
    if cfg.data_root is None and splits_csv.is_file() and data.pack is None:
        # As the run has split them: pictures that came or went since would move the cut, and training pictures with it.
        data.prepare_data()
        data.root = data.root or (data.manifest.parent if data.manifest else None)
        data.manifest = splits_csv
    return data


def _device(accelerator: str) -> str:
    import torch

    if accelerator not in ("auto", "cpu", "gpu"):
        msg = f"accelerator={accelerator} is unknown; use auto, cpu or gpu."
        raise UserError(msg)
    if accelerator == "gpu" and not torch.cuda.is_available():
        msg = "accelerator=gpu, but torch finds no GPU here: use accelerator=cpu."
        raise UserError(msg)
    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    run_program(main)
