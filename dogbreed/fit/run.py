"""`fit_run`: from a configuration to a run folder; the same for a shell, a sweep, an import and a cloud job."""

from __future__ import annotations

import logging
import math
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from omegaconf import DictConfig

from dogbreed.classifier import ImageClassifier
from dogbreed.config import auto_lr, objectives, resolve
from dogbreed.datamodule import ImageDataModule
from dogbreed.errors import UserError
from dogbreed.files import write_csv
from dogbreed.fit.build import build, build_trainer
from dogbreed.fit.callbacks import build_callbacks
from dogbreed.fit.checkpoint_file import BEST, LAST, RUN_KEY, read_checkpoint
from dogbreed.fit.checkpoints import Checkpoints
from dogbreed.fit.fingerprint import Fingerprint, fingerprint_of
from dogbreed.fit.guard import LossGuard, Suspects
from dogbreed.fit.outcome import final_metrics, measure, report, write_down
from dogbreed.fit.record import EpochRecord
from dogbreed.fit.resume import check_fingerprint, check_run
from dogbreed.fit.run_folder import RunFolder
from dogbreed.fit.stop import StopSignals

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
    fingerprint = fingerprint_of(cfg)
    admit = partial(_admit, cfg, folder, fingerprint)
    with (
        _saying_how_to_go_on(folder, cfg, is_trial=is_trial),
        StopSignals() as stop,
        folder.occupied(fingerprint, admit) as earlier,
    ):
        started = time.perf_counter()
        cfg, decided = resolve(cfg, is_trial=is_trial)
        _announce(cfg, decided, folder, earlier)
        data, classifier = build(cfg)
        write_csv(folder.splits_csv, data.index.rows())
        record = EpochRecord(folder.metrics_csv, data.batch_size)
        checkpoints = _build_checkpoints(cfg, folder, stop, fingerprint)
        trainer = build_trainer(cfg, folder, build_callbacks(_build_guard(cfg), record, checkpoints))
        best_epoch = _fit(trainer, classifier, data, checkpoints, stop, is_resumed=bool(earlier))
        results = measure(classifier, data, with_test=cfg.test_after_fit)
        seconds = checkpoints.earlier_s + time.perf_counter() - started
        metrics = final_metrics(results, record, seconds)
        write_down(cfg, folder, classifier, data, results, metrics, record, best_epoch)
        report(folder, metrics)
    values = [metrics.get(name, math.nan) for name in objectives(cfg)]
    return RunResult(metrics, values[0] if isinstance(cfg.objective, str) else values, folder.path, folder.model)


def _admit(cfg: DictConfig, folder: RunFolder, mine: Fingerprint, state: dict[str, Any]) -> dict[str, Any] | None:
    """Return where the run in the folder stands, to go on from there; None to begin; refuse another run's folder."""
    resume = str(cfg.get("resume", "auto"))
    if resume not in ("auto", "never") and Path(resume).expanduser().absolute() != folder.path.absolute():
        msg = f"resume={resume}: this run is to go to {folder.path}; name the same folder, or resume=auto."
        raise UserError(msg)
    last, best = folder.checkpoints / LAST, folder.checkpoints / BEST
    if resume == "never":
        last.unlink(missing_ok=True)
        best.unlink(missing_ok=True)
    if not last.exists():
        return None
    check_run(state, mine, folder.path, resume)
    run: dict[str, Any] = read_checkpoint(last, only_look=True).get(RUN_KEY, {})
    check_fingerprint(run.get("fingerprint"), mine, last)
    return run


@contextmanager
def _saying_how_to_go_on(folder: RunFolder, cfg: DictConfig, *, is_trial: bool) -> Iterator[None]:
    """Have an interruption say what it takes to go on, where anything was saved."""
    try:
        yield
    except KeyboardInterrupt:
        if is_trial or not (folder.checkpoints / LAST).exists():  # a sweep begins anew
            raise
        is_found = cfg.get("resume", "auto") != "never"
        msg = f"{'The same command' if is_found else f'resume={folder.path}'} goes on from here."
        raise KeyboardInterrupt(msg) from None


def _announce(cfg: DictConfig, decided: dict[str, Any], folder: RunFolder, earlier: dict[str, Any] | None) -> None:
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
    if earlier:
        log.info("resume  %s, %s", folder.path, _words(earlier))


def _words(run: dict[str, Any]) -> str:
    """Say how far an interrupted run had come."""
    if run["is_finished"]:
        return "trained to the end, not yet measured"
    within = f", batch {run['batch'] + 1} of {run['num_batches']}" if run["batch"] else ""
    return f"epoch {run['epoch'] + 1} of {run['num_epochs']}{within}"


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build_checkpoints(cfg: DictConfig, folder: RunFolder, stop: StopSignals, fingerprint: Fingerprint) -> Checkpoints:
    return Checkpoints(
        folder.checkpoints,
        objectives(cfg)[0],
        cfg.objective_mode,
        every_s=cfg.checkpoint_every_s,
        stop=stop,
        fingerprint=fingerprint,
    )


def _build_guard(cfg: DictConfig) -> LossGuard:
    suspects = Suspects(cfg.optim.lr, auto_lr(cfg), str(cfg.trainer.precision), cfg.model.weights)
    return LossGuard(suspects, cfg.trainer.log_every_n_steps)


def _fit(
    trainer: L.Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    checkpoints: Checkpoints,
    stop: StopSignals,
    *,
    is_resumed: bool,
) -> int | None:
    """Train and go back to the best checkpoint; return its epoch, counted from 1."""
    try:
        trainer.fit(classifier, datamodule=data, ckpt_path=str(checkpoints.last) if is_resumed else None)
    except torch.OutOfMemoryError as error:
        msg = (
            f"The memory of {trainer.strategy.root_device} does not hold a batch of {data.batch_size} pictures: lower "
            "data.batch_size and raise trainer.accumulate_grad_batches by the same factor."
        )
        raise UserError(msg) from error
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error
    except Exception as error:
        if stop.is_requested:  # the signal has killed a loader process, too
            raise KeyboardInterrupt from error
        raise
    if trainer.state.status == TrainerStatus.INTERRUPTED:
        raise KeyboardInterrupt
    # Float32, as the model folder will hold it, after precision=bf16-true; on the device, from which Lightning
    # takes the module when training ends.
    classifier.to(trainer.strategy.root_device, torch.float32)
    if checkpoints.best_epoch is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return None
    best = read_checkpoint(checkpoints.best)
    classifier.load_state_dict(best["state_dict"])
    return int(best["epoch"]) + 1
