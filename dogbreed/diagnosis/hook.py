"""The callback that saves a run's tensors as Amazon SageMaker Debugger does, through its own hook."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dogbreed.classifier import ImageClassifier
from dogbreed.diagnosis.hook_config import HOOK, JOB_DIR, job_config, job_file, read_job_file
from dogbreed.diagnosis.recorder import Recorder, clear_ended
from dogbreed.diagnosis.smdebug_compat import import_smdebug
from dogbreed.distributed import is_main
from dogbreed.errors import UserError
from dogbreed.run_files import SMDEBUG

log = logging.getLogger(__name__)
# What a trial consists of.
_TRIAL = ("collections", "events", "index")


class SmdebugHook(Callback):
    """Save losses, gradients, weights, activations and metrics for ``smdebug.trials.create_trial`` and AWS's rules.

    In a SageMaker job that has a ``debughookconfig.json``, that file says what is saved, where and when, and only
    ``scalars`` counts of the arguments. Of several ranks the main one saves, as smdebug's ``worker_0``: gradients and
    weights are the same on all of them, losses and activations are of its own pictures.

    A step of mode TRAIN is one of the optimiser, counted from 0; of its batches, if gradients are accumulated, the last
    one's activations are saved, the sum of all gradients and the mean of all losses. A step of mode EVAL is a
    validation batch.

    Args:
        out_dir: Folder or ``s3://`` address, without a trial in it; None is ``smdebug/`` in the run folder.
        save_interval: Steps from one that is saved to the next, >= 1.
        eval_save_interval: The same for validation batches; None is the same number.
        start_step: First step that may be saved.
        end_step: The first that may not be any more; None is never.
        save_steps: Steps that are saved besides.
        include_regex: Names of tensors for the collection ``default``.
        reductions: What is saved of a tensor instead of all its numbers; None saves these.
        save_raw_tensor: Save all numbers besides.
        save_shape: Save shapes besides.
        save_all: Save every tensor of the network, as collection ``all``.
        export_tensorboard: Write TensorBoard's files besides, into ``tensorboard/`` of ``out_dir``.
        scalars: Save validation metrics.
        collections: What to save, by name, with settings of its own under the names of those above; None leaves one
            out.

    Raises:
        UserError: a setting is unknown or out of range, or smdebug is not installed.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        save_interval: int = 50,
        eval_save_interval: int | None = None,
        start_step: int = 0,
        end_step: int | None = None,
        save_steps: Sequence[int] = (),
        include_regex: Sequence[str] = (),
        reductions: Sequence[str] | None = None,
        *,
        save_raw_tensor: bool = False,
        save_shape: bool = False,
        save_all: bool = False,
        export_tensorboard: bool = False,
        scalars: bool = True,
        collections: Mapping[str, Any] | None = None,
    ) -> None:
        settings = {
            "save_interval": save_interval,
            "eval_save_interval": eval_save_interval,
            "start_step": start_step,
            "end_step": end_step,
            # Empty ones would count as a step and an expression without a name.
            "save_steps": save_steps or None,
            "include_regex": include_regex or None,
            "reductions": reductions or None,
            "save_raw_tensor": save_raw_tensor if reductions else None,
            "save_shape": save_shape if reductions else None,
            "save_all": save_all,
            "export_tensorboard": export_tensorboard,
        }
        self._config = job_config(settings, collections or {})
        self._out_dir = out_dir
        self._scalars = scalars
        self._file = job_file()
        if self._file:
            self._config = read_job_file(self._file)
        import_smdebug()
        self._recorder: Recorder | None = None
        self._is_training = False
        self._num_validated = 0
        self._losses: list[Tensor] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse and undo what does not go with it, before the network is compiled."""
        if stage != "fit":
            return
        if sum(isinstance(callback, SmdebugHook) for callback in trainer.callbacks) > 1:  # type: ignore[attr-defined]
            msg = "Two callbacks are SmdebugHook, and smdebug has one hook in a process: give one of them."
            raise UserError(msg)
        if not isinstance(pl_module, ImageClassifier):
            msg = f"diagnose/hook=smdebug needs an ImageClassifier, got {type(pl_module).__name__}."
            raise UserError(msg)
        self._num_validated = 0
        if pl_module.is_to_be_compiled or getattr(pl_module.net, "_compiled_call_impl", None):
            pl_module.is_to_be_compiled = False
            pl_module.net._compiled_call_impl = None  # noqa: SLF001 -- torch has no word for it
            log.warning("hook    model.compile is switched off: compiled code calls no hooks")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make smdebug's hook, before any work is done, when it is known whether a run goes on."""
        if not is_main():
            return
        config = self._placed(trainer)
        self._recorder = Recorder(config, str(self._file) if self._file else "diagnose.hook")
        by = f", configured by {self._file}" if self._file else ""
        log.info("hook    smdebug saves to %s%s", self._recorder.hook.out_dir, by)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to listen: Lightning has tried validation by now, which is no step."""
        self._is_training = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step with the batch that completes it."""
        makes_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if self._recorder and makes_step:
            assert isinstance(pl_module, ImageClassifier)
            step = trainer.global_step
            self._recorder.begin(pl_module.net, "TRAIN", step, step + self._num_validated)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Stop to listen: whoever runs the network from now on is no part of the step."""
        if self._recorder:
            self._recorder.stop_listening()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Save gradients: summed over accumulated batches, averaged over ranks, and of layers unfrozen since."""
        if self._recorder and self._recorder.saves:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            # Fused optimisers take the scale off themselves, later.
            is_scaled = getattr(optimizer, "_step_supports_amp_scaling", False)
            self._recorder.see_gradients(scaler.get_scale() if scaler is not None and is_scaled else 1.0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the loss of a step that is complete."""
        if not self._recorder:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach().float() * trainer.accumulate_grad_batches)  # Lightning has divided it
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            if self._losses and self._recorder.saves:
                self._recorder.see_loss(torch.stack(self._losses).mean())
            self._losses = []

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin a step of mode EVAL."""
        if not self._is_training:
            return
        if self._recorder:
            assert isinstance(pl_module, ImageClassifier)
            step = self._num_validated
            self._recorder.begin(pl_module.net, "EVAL", step, step + trainer.global_step)
        self._num_validated += 1

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save a validation batch's loss."""
        if self._recorder and self._is_training:
            if isinstance(outputs, Tensor):
                self._recorder.see_loss(outputs)
            self._recorder.stop_listening()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the metrics, with the last batch."""
        if self._recorder and self._is_training:
            if self._scalars:
                metrics = {name: x for name, x in trainer.callback_metrics.items() if name.startswith("val/")}
                self._recorder.see_scalars({name: float(value) for name, value in metrics.items()})
            self._recorder.end()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let go of smdebug's hook."""
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Let go of it in a run that fails, too, without hiding why."""
        try:
            self._close()
        except Exception as error:  # noqa: BLE001 -- a disk that is full, an address that is gone
            log.warning("hook    smdebug could not end: %s", error)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the one number that a run must know to go on; smdebug itself is in no checkpoint."""
        # As state_dict would, of which Lightning allows one of a kind, in other words than ours.
        checkpoint["callbacks"][self.state_key] = {"num_validated": self._num_validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._num_validated = state_dict["num_validated"]

    def _close(self) -> None:
        ended, self._recorder = self._recorder, None
        self._is_training, self._losses = False, []
        if ended:
            ended.close()

    def _placed(self, trainer: L.Trainer) -> dict[str, Any]:
        """Add where the trial goes, and make room there."""
        parameters = dict(self._config.get(HOOK) or {})
        if parameters.get("include_workers", "one") != "one":
            log.warning("hook    include_workers=%s: only the main rank saves", parameters["include_workers"])
        parameters["include_workers"] = "one"
        config = {**self._config, HOOK: parameters}
        is_resumed = bool(trainer.ckpt_path)
        if self._file:
            if is_resumed:
                clear_ended(Path(config.get("LocalPath", JOB_DIR)))
            return config
        out_dir = self._out_dir or str(Path(trainer.default_root_dir, SMDEBUG))
        if not out_dir.startswith("s3://"):
            _make_room(Path(out_dir), is_resumed=is_resumed, is_ours=self._out_dir is None)
        return {**config, "LocalPath": out_dir}


def _make_room(folder: Path, *, is_resumed: bool, is_ours: bool) -> None:
    """Let a run that goes on add to its trial, and write the run folder's own one anew, as all files there."""
    if not (is_resumed or is_ours) and any((folder / name).exists() for name in _TRIAL):
        msg = f"diagnose.hook.out_dir={folder} holds a trial already: name another folder."
        raise UserError(msg)
    # A folder of that name in the working directory, where a Trainer of one's own writes, may be anything.
    is_trial = clear_ended(folder) or any(folder.glob("collections/*/worker_*_collections.json"))
    if is_trial and not is_resumed:
        for name in _TRIAL:
            shutil.rmtree(folder / name, ignore_errors=True)
