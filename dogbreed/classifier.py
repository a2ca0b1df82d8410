"""ImageClassifier: the LightningModule. Everything it knows is numbers and names.

Shape legend: B batch, S input side, K classes.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dogbreed.data.dataset import Batch
from dogbreed.data.preprocess import Preprocessing
from dogbreed.distributed import average_over_ranks_, from_all, world
from dogbreed.errors import UserError
from dogbreed.nets.backbone import build_net, fetch_pretrained
from dogbreed.nets.features import logits_of_features
from dogbreed.nets.finetune import (
    PRETRAINED_DEFAULTS,
    SCRATCH_DEFAULTS,
    FinetuneSettings,
    hold_statistics,
    running_statistics,
    set_backbone_trainable,
)
from dogbreed.nets.loss import LossSettings, TrainingLoss
from dogbreed.nets.metrics import ClassificationMetrics
from dogbreed.nets.optim import OptimSettings, build_optimizer, build_param_groups, build_scheduler


class ImageClassifier(L.LightningModule):
    """Fine-tune a timm network on image classes.

    Logs ``loss``, ``acc_top1``, ``acc_top5`` and ``f1_macro`` once an epoch under
    ``train/``, ``val/`` and ``test/``, exact over uneven batches.

    Args:
        architecture: A timm name: ``resnet50``, ``mobilenetv3_large_100.ra_in1k``.
        class_names: Names in index order, K >= 2.
        pretrained: Begin with timm's pretrained weights (from the cache or the hub).
        weights: File to begin with instead: ``.safetensors`` or ``.pth``.
        input_size_px: Input side; the weights' own by default.
        dropout: Share of features dropped before the last layer.
        channels_last: Keep tensors in NHWC order, which convolutions prefer.
        compile: Have torch compile the network when training begins, in place: names in checkpoints stay.
        optim: Optimiser and schedule, as settings or as a mapping of their fields.
        finetune: What trains, as settings, as a mapping, or just the mode's name.
        loss: Label smoothing and class weights, as settings or as a mapping of their fields.
        class_counts: Training pictures of each class; needed for balanced class weights.
        preprocessing: Numbers of a `Preprocessing`, where they do not follow the weights.

    Raises:
        UserError: the architecture or a setting is unknown, or weights are not to be had.
    """

    def __init__(
        self,
        architecture: str,
        class_names: Sequence[str],
        *,
        pretrained: bool = True,
        weights: str | Path | None = None,
        input_size_px: int | None = None,
        dropout: float = 0.0,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002 -- torch's word
        optim: OptimSettings | Mapping[str, Any] | None = None,
        finetune: FinetuneSettings | Mapping[str, Any] | str = "full",
        loss: LossSettings | Mapping[str, Any] | None = None,
        class_counts: Sequence[int] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(class_names) < 2:
            msg = f"class_names={list(class_names)}: a classifier needs at least two classes."
            raise UserError(msg)
        self.architecture = architecture
        self.class_names = tuple(class_names)
        self.optim = OptimSettings(**optim) if isinstance(optim, Mapping) else optim or OptimSettings()
        if isinstance(finetune, str):
            defaults = PRETRAINED_DEFAULTS if pretrained or weights else SCRATCH_DEFAULTS
            finetune = {"mode": finetune, **defaults}
        self.finetune = FinetuneSettings(**finetune) if isinstance(finetune, Mapping) else finetune
        loss = LossSettings(**loss) if isinstance(loss, Mapping) else loss or LossSettings()
        self.training_loss = TrainingLoss(loss, class_counts)
        self.preprocessing = Preprocessing.of(architecture, input_size_px, preprocessing)
        file = Path(weights).expanduser() if weights else fetch_pretrained(architecture) if pretrained else None
        self.net: nn.Module = build_net(
            architecture,
            len(self.class_names),
            dropout=dropout,
            input_size_px=self.preprocessing.input_size_px,
            weights=file,
        )
        if channels_last:
            self.net.to(memory_format=torch.channels_last)
        self.is_to_be_compiled = compile
        self.train_metrics = ClassificationMetrics(len(self.class_names))
        self.val_metrics = ClassificationMetrics(len(self.class_names))
        self.test_metrics = ClassificationMetrics(len(self.class_names))
        self._saved_sums: dict[str, dict[str, Tensor]] = {}
        self._saved_statistics: list[Tensor] = []
        # Each rank counts its own pictures: DistributedDataParallel must not make the counts equal.
        self._ddp_params_and_buffers_to_ignore = [
            f"{name}.{buffer}"
            for name, module in self.named_children()
            if isinstance(module, ClassificationMetrics)
            for buffer, _ in module.named_buffers()
        ]
        # What a checkpoint needs to be rebuilt anywhere: its own tensors replace the pretrained ones.
        self.save_hyperparameters(
            {
                "architecture": architecture,
                "class_names": list(self.class_names),
                "pretrained": False,
                "dropout": dropout,
                "channels_last": channels_last,
                "optim": _plain(asdict(self.optim)),
                "finetune": asdict(self.finetune),
                "loss": asdict(loss),
                "class_counts": None if class_counts is None else [int(count) for count in class_counts],
                "preprocessing": self.preprocessing.to_dict(),
            }
        )

    # -- steps ---------------------------------------------------------------

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """Compute ``(B, K)`` logits of raw uint8 pixels, of pictures that are normalised already, or of features."""
        if images_BCSS.dim() == 2:
            return logits_of_features(self.net, images_BCSS.to(self.dtype))
        if images_BCSS.dtype == torch.uint8:
            images_BCSS = self.preprocessing.normalize(images_BCSS).to(self.dtype)  # bf16-true, 64-true
        return self.net(images_BCSS)  # type: ignore[no-any-return]

    def training_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the mean training loss of a batch ``(images, labels, …)``; a picture counts by its own label."""
        logits_BK = self(batch[0])
        mixture = (batch.partners, batch.shares) if isinstance(batch, Batch) else ()
        loss: Tensor = self.training_loss(logits_BK, batch[1], *mixture)
        self.train_metrics.update(logits_BK, batch[1], loss)
        if self._is_logged():
            self.log("train/loss_step", loss)
        return loss

    def _is_logged(self) -> bool:
        """Say whether loggers get this step: what Lightning would throw away costs a tenth of a head's step."""
        trainer = self._trainer
        if trainer is None or not trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return False
        return bool((trainer.global_step + 1) % trainer.log_every_n_steps == 0)  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Count a validation batch and return its mean loss, for callbacks."""
        return self._count(batch, self.val_metrics)

    def test_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> None:
        """Count a test batch."""
        self._count(batch, self.test_metrics)

    def predict_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return ``(B, K)`` logits."""
        return self.forward(batch[0])

    def _count(self, batch: Batch | Sequence[Tensor], metrics: ClassificationMetrics) -> Tensor:
        logits_BK, labels_B = self(batch[0]), batch[1]
        loss = nn.functional.cross_entropy(logits_BK, labels_B)
        metrics.update(logits_BK, labels_B, loss)
        return loss

    # -- epochs --------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Enter the first phase before DistributedDataParallel looks at what has gradients."""
        if stage == "fit":
            set_backbone_trainable(self.net, self.finetune.trains_backbone(self.current_epoch))
            if self.is_to_be_compiled:
                self.net.compile()

    def on_fit_start(self) -> None:
        """Refuse data that is prepared for other weights than ours."""
        theirs = getattr(getattr(self.trainer, "datamodule", None), "preprocessing", None)
        if isinstance(theirs, Preprocessing) and theirs != self.preprocessing:
            msg = (
                f"The data module prepares pictures as {theirs.to_dict()}, the model expects "
                f"{self.preprocessing.to_dict()}: pass preprocessing=model.preprocessing to the data module."
            )
            raise UserError(msg)

    def on_train_start(self) -> None:
        """Go on within an epoch as if there had been no break, where a checkpoint was made there."""
        self._enter_phase()
        for metrics, sums in self._saved_sums.items():
            getattr(self, metrics).load_sums(sums)
        self._saved_sums = {}
        for ours, saved in zip(running_statistics(self.net), self._saved_statistics, strict=False):
            ours.copy_(saved)  # only now: DistributedDataParallel has given all ranks those of the main one
        self._saved_statistics = []

    def on_train_epoch_start(self) -> None:
        """Enter the phase that this epoch belongs to."""
        self._enter_phase()
        self.train_metrics.reset()

    def _enter_phase(self) -> None:
        trained_before = [parameter.requires_grad for parameter in self.net.parameters()]
        set_backbone_trainable(self.net, self.finetune.trains_backbone(self.current_epoch))
        if trained_before != [parameter.requires_grad for parameter in self.net.parameters()]:
            self._wrap_anew()
        self.train()

    def _wrap_anew(self) -> None:
        """Let DistributedDataParallel, if there is one, look again at what has gradients: it looks only once."""
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
            strategy.model = self
            gc.collect()  # the old wrapper, whose hooks would wait for gradients, is full of cycles
            strategy.configure_ddp()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 -- torch's signature
        """Switch to training, but leave frozen statistics in evaluation mode."""
        super().train(mode)
        if mode and self.finetune.keeps_statistics(self.current_epoch):
            hold_statistics(self.net)
        return self

    def on_train_epoch_end(self) -> None:
        """Log the epoch's training metrics."""
        self._average_statistics()
        self._log(self.train_metrics, "train")

    def on_validation_epoch_start(self) -> None:
        """Begin counting."""
        self._average_statistics()
        self.val_metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's validation metrics."""
        self._log(self.val_metrics, "val")

    def on_test_epoch_start(self) -> None:
        """Begin counting."""
        self.test_metrics.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log(self.test_metrics, "test")

    def _average_statistics(self) -> None:
        """Make running statistics, which each rank takes from its own pictures, the same on all ranks."""
        if not self.finetune.keeps_statistics(self.current_epoch):
            average_over_ranks_(running_statistics(self.net))

    def _log(self, metrics: ClassificationMetrics, split: str) -> None:
        self.log_dict({f"{split}/{name}": value for name, value in metrics.compute().items()})

    # -- checkpoints ---------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what an epoch has counted so far, and its running statistics, each rank its own."""
        sums = {name: getattr(self, name).sums() for name in ("train_metrics", "val_metrics")}
        checkpoint["sums"] = from_all(sums)
        checkpoint["statistics"] = from_all([tensor.clone() for tensor in running_statistics(self.net)])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the sums until training starts: the precision may cast what is loaded now."""
        rank = world().rank
        if rank < len(checkpoint.get("sums", ())):
            self._saved_sums, self._saved_statistics = checkpoint["sums"][rank], checkpoint["statistics"][rank]

    # -- optimiser -----------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build all parameter groups and one schedule over the whole run, stepped every step."""
        # Fused optimisers take off the loss scale themselves, after Lightning would have clipped: it refuses the two.
        clips_scaled = bool(self.trainer.gradient_clip_val) and "mixed" in str(self.trainer.precision)
        groups = build_param_groups(self.net, self.optim, self.finetune)
        optimizer = build_optimizer(groups, self.optim, may_fuse=not clips_scaled)
        total_steps = max(1, int(self.trainer.estimated_stepping_batches))
        # Not total_steps / max_epochs: max_steps and max_time end a run early.
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        scheduler = build_scheduler(optimizer, self.optim, self.finetune, total_steps, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists: what comes back from YAML and JSON is the same then."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
