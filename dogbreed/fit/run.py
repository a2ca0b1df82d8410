"""`fit_run`: from a configuration to a run folder; the same for a shell, a sweep, an import and a cloud job."""

from __future__ import annotations

import copy
import logging
import math
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from omegaconf import DictConfig, OmegaConf

from dogbreed.allocator import keeping_freed_memory
from dogbreed.classifier import ImageClassifier
from dogbreed.config import (
    auto_lr,
    check_present,
    ends_lost_trials,
    local_devices,
    objectives,
    resolve,
    without_study,
)
from dogbreed.datamodule import ImageDataModule
from dogbreed.distributed import copy_from_main_, from_main, is_main, joined, shared_fate, world
from dogbreed.early_end import LOST, EarlyEnd, early_end
from dogbreed.errors import LostError, UserError
from dogbreed.files import write_csv, write_text
from dogbreed.fit.beginning import Beginning, admit, saying_how_to_go_on
from dogbreed.fit.board import show_outcome
from dogbreed.fit.build import build, build_trainer
from dogbreed.fit.callbacks import build_callbacks
from dogbreed.fit.checkpoint_file import read_checkpoint
from dogbreed.fit.checkpoints import Checkpoints
from dogbreed.fit.features import FeatureExtractor
from dogbreed.fit.fingerprint import fingerprint_of
from dogbreed.fit.guard import LossGuard, Suspects
from dogbreed.fit.outcome import final_metrics, measure, report, write_down
from dogbreed.fit.page import writing_page
from dogbreed.fit.passes import trainer_in_passes
from dogbreed.fit.places import checkpoint_dir
from dogbreed.fit.ranks import supervise
from dogbreed.fit.record import EpochRecord
from dogbreed.fit.run_folder import RunFolder
from dogbreed.fit.stop import StopSignals
from dogbreed.machine import limit_threads, spare_gpu_lookups
from dogbreed.nets.features import has_separate_head
from dogbreed.nets.flops import count_parameters

log = logging.getLogger(__name__)

MOST_SAVING_OF_TRIAL = 0.05


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Args:
        metrics: Final numbers by flat name: ``val/acc_top1``, ``test/loss``, ``seconds``, …
        objective: Value of the configuration's objective, or values for a list.
        run_dir: The run folder.
        model_dir: The model folder in it, for `dogbreed.load_model`; not there where training came to nothing.
        early_end: Why training has ended before its last epoch, where a pruner or a rule of diagnosis has ended it.
    """

    metrics: dict[str, float]
    objective: float | list[float]
    run_dir: Path
    model_dir: Path
    early_end: EarlyEnd | None = None


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
    with joined(), ExitStack() as stack:
        # Under torchrun each rank comes here, and rank 0's word counts.
        cfg, run_dir, is_trial = from_main(lambda: (copy.deepcopy(cfg), Path(run_dir), is_trial))
        check_present(cfg)
        folder = _folder(cfg, run_dir, is_trial=is_trial)
        stack.enter_context(saying_how_to_go_on(cfg, folder, is_trial=is_trial))
        stop = stack.enter_context(StopSignals())
        beginning = from_main(lambda: stack.enter_context(_beginning(cfg, folder, is_trial=is_trial)))
        try:
            with shared_fate():
                result = _run(cfg, folder, beginning, stop, is_trial=is_trial)
        except LostError as error:
            # Ranks that torchrun has started free each other only by ending.
            if not (is_trial and ends_lost_trials(cfg)) or world().is_started:
                raise
            log.warning("pruned  %s", error)
            nothing: Any = math.nan if isinstance(cfg.objective, str) else [math.nan] * len(cfg.objective)
            result = RunResult({}, nothing, folder.path, folder.model, EarlyEnd(str(error), LOST))
        folder.pruned = result.early_end if is_trial else None
        return result


def _run(cfg: DictConfig, folder: RunFolder, beginning: Beginning, stop: StopSignals, *, is_trial: bool) -> RunResult:
    """Do a run's work in as many processes as it wants."""
    resolved, _ = from_main(lambda: resolve(cfg, is_trial=is_trial))
    if local_devices(resolved) == 1 or world().is_started:
        return run_in(cfg, folder.path, beginning, stop, is_trial=is_trial)
    OmegaConf.resolve(cfg)  # ranks do not know Hydra's own values
    task = {"cfg": cfg, "run_dir": folder.path, "is_trial": is_trial, "beginning": beginning}
    metrics, objective, end = supervise(task, local_devices(resolved))
    return RunResult(metrics, objective, folder.path, folder.model, end)


def run_in(cfg: DictConfig, run_dir: Path, beginning: Beginning, stop: StopSignals, *, is_trial: bool) -> RunResult:
    """Do all of a run's work in this process, alone or as one rank of several; the folder is held by the caller.

    Args:
        cfg: As for `fit_run`.
        run_dir: The run folder.
        beginning: What the run is, and where it goes on.
        stop: Listens to signals.
        is_trial: The run is one of a sweep.

    Returns:
        As `fit_run`; the same on every rank.

    Raises:
        UserError: as `fit_run`.
    """
    folder = _folder(cfg, run_dir, is_trial=is_trial)
    started = time.perf_counter()
    limit_threads()
    spare_gpu_lookups()
    cfg, decided = from_main(lambda: resolve(cfg, is_trial=is_trial))
    _announce(cfg, decided, folder, beginning)
    data, classifier = build(cfg)
    trains_from_features = data.num_views and has_separate_head(classifier.net, classifier.preprocessing.input_size_px)
    num_passes = 1 if trains_from_features else data.num_passes
    record = EpochRecord(folder.metrics_csv, data.batch_size // num_passes)
    if is_main():
        write_text(folder.config_yaml, OmegaConf.to_yaml(without_study(cfg)))
        write_csv(folder.splits_csv, data.index.rows())
    checkpoints = _build_checkpoints(cfg, folder, stop, beginning, num_passes, is_trial=is_trial)
    callbacks = build_callbacks(_build_guard(cfg), record, checkpoints)
    instead = trainer_in_passes(cfg.trainer, data, num_passes)
    if trains_from_features and str(cfg.trainer.precision).endswith("-mixed"):
        instead["precision"] = "32-true"  # the backbone alone is quicker in 16 bits: its features are made there
    trainer = build_trainer(cfg, folder, callbacks, instead)
    data.supply.device = trainer.strategy.root_device
    if trains_from_features:
        data.features = FeatureExtractor(classifier, data, trainer.strategy.root_device, cfg.trainer.precision)
    best_epoch = _fit(trainer, classifier, data, checkpoints, stop, is_resumed=bool(beginning.earlier))
    outcome = measure(classifier, data, with_test=cfg.test_after_fit)

    def finish() -> dict[str, float]:
        seconds = checkpoints.earlier_s + time.perf_counter() - started
        metrics = final_metrics(outcome, record, seconds, count_parameters(classifier.net))
        step, with_pictures = trainer.global_step, cfg.pictures
        show_outcome(trainer.loggers, outcome.results, metrics, data.class_names, step, with_pictures=with_pictures)
        write_down(without_study(cfg), folder, classifier, data, outcome, metrics, record, best_epoch)
        folder.retire_checkpoint()
        report(folder, outcome, metrics, data.class_names)
        return metrics

    metrics = from_main(finish)
    values = [metrics.get(name, math.nan) for name in objectives(cfg)]
    objective = values[0] if isinstance(cfg.objective, str) else values
    return RunResult(metrics, objective, folder.path, folder.model, early_end(trainer))


@contextmanager
def _beginning(cfg: DictConfig, folder: RunFolder, *, is_trial: bool) -> Iterator[Beginning]:
    fingerprint = fingerprint_of(cfg)
    admitted = partial(admit, cfg, folder, fingerprint)
    origin = OmegaConf.to_container(cfg.origin) if cfg.get("origin") else None
    with ExitStack() as afterwards, folder.occupied(fingerprint, admitted, origin) as earlier:
        # Only now that the folder is ours; it is written when run.json says how the run ended.
        afterwards.enter_context(writing_page(folder.path, is_wanted=cfg.report and not is_trial))
        yield Beginning(fingerprint, earlier)


def _folder(cfg: DictConfig, run_dir: Path, *, is_trial: bool) -> RunFolder:
    return RunFolder(run_dir, checkpoint_dir(cfg, run_dir, is_trial=is_trial))


def _announce(cfg: DictConfig, decided: dict[str, Any], folder: RunFolder, beginning: Beginning) -> None:
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
    if beginning.earlier:
        log.info("resume  %s, %s", folder.path, beginning.words())


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build_checkpoints(
    cfg: DictConfig, folder: RunFolder, stop: StopSignals, beginning: Beginning, num_passes: int, *, is_trial: bool
) -> Checkpoints:
    return Checkpoints(
        folder.checkpoints,
        objectives(cfg)[0],
        cfg.objective_mode,
        every_s=cfg.checkpoint_every_s,
        stop=stop,
        fingerprint=beginning.fingerprint,
        num_passes=num_passes,
        # A trial that is lost is tried again; a head's epoch takes less time than to save it.
        most_share=MOST_SAVING_OF_TRIAL if is_trial else None,
    )


def _build_guard(cfg: DictConfig) -> LossGuard:
    suspects = Suspects(cfg.optim.lr, auto_lr(cfg), str(cfg.trainer.precision), cfg.model.weights)
    return LossGuard(suspects, cfg.trainer.log_every_n_steps)


@keeping_freed_memory()
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
        raise UserError(_too_large(trainer.strategy.root_device, data)) from error
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error
    except Exception as error:
        if stop.is_requested and not isinstance(error, UserError):  # the signal has killed a loader process, too
            raise KeyboardInterrupt from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            msg = f"model.compile=true: torch cannot compile {classifier.architecture} here ({reason}): leave it off."
            raise UserError(msg) from error
        raise
    if trainer.state.status == TrainerStatus.INTERRUPTED:
        raise KeyboardInterrupt
    # Float32, as the model folder will hold it, after precision=bf16-true; on the device, from which Lightning
    # takes the module when training ends.
    classifier.to(trainer.strategy.root_device, torch.float32)
    if checkpoints.best_epoch is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return None

    def load() -> int:
        best = read_checkpoint(checkpoints.best)
        classifier.load_state_dict(best["state_dict"])
        return int(best["epoch"]) + 1

    best_epoch = from_main(load)  # other machines may not see the folder
    copy_from_main_(classifier.state_dict().values())
    return best_epoch


def _too_large(device: torch.device, data: ImageDataModule) -> str:
    """Say what to do where pictures do not fit into the device's memory."""
    at_once = data.batch_size // data.num_ranks // data.num_passes
    if at_once == 1:
        return f"The memory of {device} does not hold one picture: lower model.input_size_px, or train another model."
    return (
        f"The memory of {device} does not hold {at_once} pictures at once: set data.micro_batch_size={at_once // 2}; a "
        "batch then comes in more passes, and the recipe stays as it is."
    )
