"""What Lightning, metrics, callbacks and options add to a step: ours against a bare PyTorch step on the same tensors.

Both steps alternate inside one training run, so that a busy machine slows both.
"""

import copy
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.record import Row
from dogbreed import ImageClassifier
from dogbreed.fit.average import WeightAverage
from dogbreed.fit.record import EpochRecord, RunProgress

BATCH, NUM_CLASSES, WARM_UP = 32, 20, 4


class BareStep(Callback):
    """After each of our steps, time one without Lightning on the same tensors."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, normalize, batch) -> None:
        self.ours_s: list[float] = []
        self.bare_s: list[float] = []
        self._net, self._optimizer = net, optimizer
        self._normalize, self._batch = normalize, batch
        self._mark = 0.0

    def on_train_epoch_start(self, *_) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_end(self, *_) -> None:
        now = time.perf_counter()
        self.ours_s.append(now - self._mark)
        images, labels = self._batch
        loss = nn.functional.cross_entropy(self._net(self._normalize(images)), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._mark = time.perf_counter()
        self.bare_s.append(self._mark - now)


# What an option adds is shown, not bounded.
OPTIONS = {
    "EMA": lambda _: {"callbacks": [WeightAverage()]},
    "gradient clipping": lambda _: {"gradient_clip_val": 1.0},
    "a log to TensorBoard in every step": lambda scratch: {
        "logger": TensorBoardLogger(scratch),
        "log_every_n_steps": 1,
    },
}


def run() -> list[Row]:
    """ResNet18 at the size of photographs, and at the sample's, where overhead weighs more; there with options, too."""
    rows = [_measure(224, 30, target=1.03), _measure(64, 150, target=1.03)]
    return rows + [_measure(64, 150, option=name) for name in OPTIONS]


def _measure(size_px: int, steps: int, option: str = "", target: float | None = None) -> Row:
    torch.manual_seed(0)
    names = [f"class {k}" for k in range(NUM_CLASSES)]
    ours = ImageClassifier("resnet18.tv_in1k", names, pretrained=False, input_size_px=size_px)
    bare = copy.deepcopy(ours.net).train()
    fused = torch.optim.AdamW(bare.parameters(), lr=1e-4, fused=True)
    images = torch.randint(0, 256, (BATCH, 3, size_px, size_px), dtype=torch.uint8)
    batch = (images, torch.arange(BATCH) % NUM_CLASSES)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        record = EpochRecord(Path(scratch, "metrics.csv"), BATCH)
        timer = BareStep(bare, fused, ours.preprocessing.normalize, batch)
        options = {"logger": False, "callbacks": []} | (OPTIONS[option](scratch) if option else {})
        options["callbacks"] = [record, RunProgress(record), *options["callbacks"], timer]
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=scratch,
            **options,
        )
        trainer.fit(ours, DataLoader([batch] * (steps + WARM_UP), batch_size=None))
    pairs = list(zip(timer.ours_s, timer.bare_s, strict=True))[WARM_UP:]
    bare_s = statistics.median(pair[1] for pair in pairs)
    # The median of ratios of neighbours, not the ratio of medians: load that comes and goes hits both of a pair.
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    case = f"ResNet18, batch {BATCH}, {size_px} px, training step{f' with {option}' if option else ''}"
    case += f", median of {steps} pairs"
    return Row("step", case, 1000 * bare_s * ratio, "bare PyTorch step", 1000 * bare_s, "ms", target, "max")
