"""The callback that looks at a run while it trains and shows rules what it sees."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dogbreed.classifier import ImageClassifier
from dogbreed.datamodule import ImageDataModule
from dogbreed.diagnosis.board import add_histograms, add_verdicts, tensorboards
from dogbreed.diagnosis.judge import Judge
from dogbreed.diagnosis.look import Look
from dogbreed.diagnosis.observations import EpochEnd, InputStats, Observation, Setting, Silence
from dogbreed.diagnosis.panel import RulePanel
from dogbreed.diagnosis.rule import Rule
from dogbreed.diagnosis.sampler import Moment, SystemSampler
from dogbreed.diagnosis.statistics import Measured
from dogbreed.diagnosis.steps import StepRecord
from dogbreed.distributed import from_main, is_main
from dogbreed.early_end import EarlyEnd
from dogbreed.errors import UserError
from dogbreed.files import write_csv
from dogbreed.machine import num_cpus
from dogbreed.run_files import STEPS_CSV, SYSTEM_CSV

log = logging.getLogger(__name__)
# Values of each gradient and weight that a histogram is made of.
NUM_VALUES = 4096


class Monitor(Callback):
    """Look at gradients, weights, updates, activations, losses, inputs and times; let rules judge them.

    Of several ranks, the main one looks: gradients and weights are the same on all of them, losses, inputs and
    activations are those of its own pictures.

    Args:
        rules: By the name that ``diagnosis.json`` gives them.
        every_n_steps: Longest time between two looks at tensors, >= 1; losses and times are those of every step.
        system_every_s: Seconds between two looks at the machine, > 0.
        on_issue: ``log`` says what is wrong and goes on; ``prune`` ends training that is lost (see
            `dogbreed.diagnosis.lost`) with its epoch; ``stop`` ends it whatever is wrong and measures the best weights;
            ``fail`` ends the run with the sentence.
        file: ``diagnosis.json``, beside which ``steps.csv`` and ``system.csv`` are written; None writes nothing.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        rules: Mapping[str, Rule | None],
        every_n_steps: int = 50,
        system_every_s: float = 2.0,
        on_issue: str = "log",
        file: Path | None = None,
    ) -> None:
        if every_n_steps < 1:
            msg = f"diagnose.every_n_steps={every_n_steps} must be at least 1; diagnose=none looks at nothing."
            raise UserError(msg)
        if not system_every_s > 0:
            msg = f"diagnose.system_every_s={system_every_s} must be above 0."
            raise UserError(msg)
        self.panel = RulePanel({name: rule for name, rule in rules.items() if rule is not None})
        self.early_end: EarlyEnd | None = None
        self._judge = Judge(self.panel, on_issue)
        self._every_n_steps = every_n_steps
        self._system_every_s = system_every_s
        self._file = file
        self._began = time.perf_counter()
        self._steps = StepRecord(file.with_name(STEPS_CSV) if file and is_main() else None)
        self._is_validated = False
        self._look: Look | None = None
        self._boards: list[Any] = []
        self._sampler: SystemSampler | None = None
        self._moments: list[Moment] = []
        self._earlier: list[dict[str, Any]] = []
        self._measured: list[Measured] = []

    # -- what Lightning tells ------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the rules what kind of run this is."""
        data = getattr(trainer, "datamodule", None)
        setting = Setting(
            num_workers=getattr(data, "num_workers", 0),
            num_cores=num_cpus(),
            pin_memory=pl_module.device.type == "cuda",
            batch_size=getattr(data, "batch_size", 0),
            accelerator=pl_module.device.type,
            seconds=time.perf_counter() - self._began,
        )
        self._show(trainer, [setting])
        if is_main():
            self._boards = tensorboards(trainer.loggers)
            self._sampler = SystemSampler(self._system_every_s, pl_module.device, self._on_silence)
            self._steps.begin(trainer, pl_module.device)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave out what lies between epochs."""
        self._is_validated = False
        self._steps.restart()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin to look, if it is time."""
        makes_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if not (makes_step and is_main() and self._is_time(trainer.global_step + 1)):
            return
        if isinstance(pl_module, ImageClassifier):
            self._look = Look(trainer.global_step + 1, pl_module.net, NUM_VALUES if self._boards else 0)
            images = batch[0]
            if isinstance(images, Tensor) and images.dim() == 4:  # not features
                is_raw = images.dtype == torch.uint8
                self._look.see_input(pl_module.preprocessing.normalize(images) if is_raw else images)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure gradients."""
        if self._look:
            self._look.see_gradients()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure what the step has changed; show the rules what has arrived."""
        if not is_main():
            return
        self._alive(trainer)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches  # by which Lightning has divided it
        has_ended = self._steps.see_batch(loss, trainer.global_step)
        if self._look:
            self._measured += self._look.finish()
            self._look = None
        if trainer.is_last_batch or all(item.is_there() for item in self._measured):
            self._show_tensors(trainer)
        if trainer.is_last_batch or len(self._steps) >= self._every_n_steps:
            self._show_steps(trainer)
        if has_ended:
            self._steps.restart()  # what the rules take is no step's

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the epoch's metrics; validation is over by now."""
        if not isinstance(pl_module, ImageClassifier):
            return
        measured = {"train": pl_module.train_metrics} | ({"val": pl_module.val_metrics} if self._is_validated else {})
        metrics = {f"{split}/{name}": x for split, own in measured.items() for name, x in own.compute().items()}
        confusion_KK = pl_module.val_metrics.total_confusion().numpy() if self._is_validated else None
        data = getattr(trainer, "datamodule", None)
        counts = data.index.class_counts("train") if isinstance(data, ImageDataModule) else ()
        number, class_counts = trainer.current_epoch + 1, tuple(int(count) for count in counts)
        epoch = EpochEnd(trainer.global_step, number, metrics, confusion_KK, pl_module.class_names, class_counts)
        self._show(trainer, [epoch])
        self._write()
        wants_stop, end = from_main(lambda: (self._judge.wants_stop, self._judge.why_lost(epoch)))
        if end and number != trainer.max_epochs and not trainer.should_stop:
            self.early_end = end
            if is_main():
                log.warning("pruned  %s", end.reason)
        if wants_stop or self.early_end:
            trainer.should_stop = True

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note that the run moves."""
        self._alive(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that this epoch has validation metrics of its own."""
        self._is_validated = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say how it was."""
        self._end()
        add_verdicts(self._boards, self.panel.table(), trainer.global_step)
        found = [row["name"] for row in self.panel.table() if row["verdict"] == "issue"]
        if is_main():
            log.info("rules   %s of %d found something%s", len(found) or "none", len(self.panel.rules),
                     f": {', '.join(found)}" if found else "")  # fmt: skip

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep what was found in a run that fails."""
        if self._look:
            self._look.close()
            self._measured += self._look.measured
        self._judge.on_issue = "log"  # it ends already
        # A device that has failed or a disk that is full must not hide why the run ends.
        with suppress(RuntimeError):
            self._show_tensors(trainer)
            self._show_steps(trainer)
        with suppress(OSError):
            self._end()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep what the rules make of all steps so far; Lightning asks for `state_dict` before they have seen them."""
        self._show_steps(trainer)
        checkpoint["callbacks"][self.state_key] = {
            "rules": self.panel.state(),
            "steps": self._steps.state(),
            "system": self._system_rows(),
            "lost": (self._judge.has_learned, asdict(self.early_end) if self.early_end else None),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.panel.load_state(state_dict["rules"])
        self._earlier = state_dict["system"]
        self._steps.load_state(state_dict["steps"])
        self._judge.has_learned, end = state_dict.get("lost", (False, None))
        self.early_end = EarlyEnd(**end) if end else None

    def _is_time(self, step: int) -> bool:
        """Look at steps 1, 2, 4, 8 and so on, until they lie as far apart as they may."""
        return step % self._every_n_steps == 0 or (step < self._every_n_steps and step & (step - 1) == 0)

    # -- what the rules are shown --------------------------------------------

    def _show_tensors(self, trainer: L.Trainer) -> None:
        measured, self._measured = self._measured, []
        seen: list[Observation] = []
        for item in measured:
            stats = item.read()
            if item.sample_TN:
                add_histograms(self._boards, stats.kind, stats.names, item.sample_TN.read(), stats.step)
            if stats.kind == "input":
                means, stds = (tuple(stats.columns[name].tolist()) for name in ("mean", "std"))
                seen.append(InputStats(stats.step, means, stds, int(stats.columns["num_images"][0])))
            else:
                seen.append(stats)
        self._show(trainer, seen)

    def _show_steps(self, trainer: L.Trainer) -> None:
        seen = self._steps.take()
        if seen and self._sampler:
            moments = self._sampler.take()
            self._moments += moments
            seen += [moment.sample for moment in moments]
        self._show(trainer, seen)

    def _show(self, trainer: L.Trainer, seen: list[Observation]) -> None:
        """Let the main rank's rules judge; do what is wanted about what they find."""
        if not is_main():
            return
        sentences = self._judge.show(seen)
        if sentences and self._judge.on_issue == "fail":
            msg = f"diagnose.on_issue=fail: {sentences[0]}"
            raise UserError(msg)
        if self._judge.wants_stop and trainer.world_size == 1:
            trainer.should_stop = True  # several ranks agree at the end of the epoch

    def _alive(self, trainer: L.Trainer) -> None:
        if self._sampler:
            self._sampler.alive(trainer.global_step)

    def _on_silence(self, seen: Silence) -> None:
        """Let the rules judge in the sampler's thread: the main one may hang."""
        if not self._judge.show([seen]):
            return
        with suppress(OSError):
            self._write()
        if self._judge.on_issue in ("stop", "fail"):  # the signal would end a search, not only its trial
            os.kill(os.getpid(), signal.SIGTERM)  # as a cluster would: save, and end

    def _end(self) -> None:
        if self._sampler:
            self._sampler.stop()
        self._steps.end()
        self._write()

    def _write(self) -> None:
        if self._file and is_main():
            self.panel.write(self._file)
            write_csv(self._file.with_name(SYSTEM_CSV), self._system_rows())

    def _system_rows(self) -> list[dict[str, Any]]:
        return [*self._earlier, *(moment.row() for moment in self._moments)]
