"""What Lightning, metrics, callbacks, options and pictures add to a step: ours against a bare PyTorch step.

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

from benchmarks.commands import PHOTOS
from benchmarks.record import Row
from dogbreed import AugmentSettings, ImageClassifier, ImageDataModule, compose
from dogbreed.allocator import keeping_freed_memory
from dogbreed.config.hardware import auto_precision
from dogbreed.fit.average import WeightAverage
from dogbreed.fit.build import instantiate
from dogbreed.fit.record import EpochRecord, RunProgress

BATCH, NUM_CLASSES, NUM_CLOTHES, WARM_UP = 32, 20, 10, 4


class BareStep(Callback):
    """After each of our steps, time one without Lightning.

    Args:
        net: The bare step's own network.
        optimizer: Of its parameters.
        labels: Of its batch.
        make_input: Gives what the network is fed with.
        precision: ``bf16-mixed`` or ``32-true``, as the trainer's.
    """

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, labels, make_input, precision: str) -> None:
        self.ours_s: list[float] = []
        self.bare_s: list[float] = []
        self._net, self._optimizer = net, optimizer
        self._labels, self._make_input = labels, make_input
        self._autocast = precision == "bf16-mixed"
        self._mark = 0.0

    def on_train_epoch_start(self, *_) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_end(self, *_) -> None:
        now = time.perf_counter()
        self.ours_s.append(now - self._mark)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            loss = nn.functional.cross_entropy(self._net(self._make_input()), self._labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._mark = time.perf_counter()
        self.bare_s.append(self._mark - now)

    def total_ratio(self, last: int) -> float:
        """Return what the last steps took altogether, against the bare ones: what happens seldom counts, too."""
        return sum(self.ours_s[-last:]) / sum(self.bare_s[-last:])

    def compare(self) -> tuple[float, float]:
        """Return the bare step's seconds, and ours in their place.

        The median of ratios of neighbours, not the ratio of medians: load that comes and goes hits both of a pair.
        """
        pairs = list(zip(self.ours_s, self.bare_s, strict=True))[WARM_UP:]
        bare_s = statistics.median(pair[1] for pair in pairs)
        return bare_s, bare_s * statistics.median(ours / bare for ours, bare in pairs)


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
    """ResNet18 at the size of photographs, and at the sample's, where overhead weighs more; there with options, too.

    Then whole steps, from cached photographs, beside the network alone.
    """
    rows = [_measure(224, 30, target=1.03), _measure(64, 150, target=1.03)]
    rows += [_measure(64, 150, option=name) for name in OPTIONS]
    rows += [_measure_rules(), _measure_profiler()]
    if PHOTOS["clothing"].is_dir():
        rows += [_measure_with_pictures(architecture) for architecture in ("resnet18", "mobilenetv3_large_100")]
    return rows


def _measure(size_px: int, steps: int, option: str = "", target: float | None = None) -> Row:
    ours, bare, optimizer = _networks("resnet18.tv_in1k", NUM_CLASSES, size_px)
    images = torch.randint(0, 256, (BATCH, 3, size_px, size_px), dtype=torch.uint8)
    labels = torch.arange(BATCH) % NUM_CLASSES
    timer = BareStep(bare, optimizer, labels, lambda: ours.preprocessing.normalize(images), auto_precision("cpu"))
    with tempfile.TemporaryDirectory() as scratch:
        options = OPTIONS[option](scratch) if option else {}
        loader = DataLoader([(images, labels)] * (steps + WARM_UP), batch_size=None)
        _train(ours, timer, scratch, train_dataloaders=loader, **options)
    bare_s, ours_s = timer.compare()
    case = f"ResNet18, batch {BATCH}, {size_px} px, training step{f' with {option}' if option else ''}"
    case += f", median of {steps} pairs"
    return Row("step", case, 1000 * ours_s, "bare PyTorch step", 1000 * bare_s, "ms", target, "max")


def _measure_rules() -> Row:
    """Steps with the default rules that look at tensors twice, altogether."""
    diagnose = compose(["diagnose.on_issue=log"]).diagnose
    period = int(diagnose.every_n_steps)
    ours, bare, optimizer = _networks("resnet18.tv_in1k", NUM_CLASSES, 224)
    images = torch.randint(0, 256, (BATCH, 3, 224, 224), dtype=torch.uint8)
    labels = torch.arange(BATCH) % NUM_CLASSES
    timer = BareStep(bare, optimizer, labels, lambda: ours.preprocessing.normalize(images), auto_precision("cpu"))
    with tempfile.TemporaryDirectory() as scratch:
        loader = DataLoader([(images, labels)] * (3 * period), batch_size=None)
        _train(
            ours,
            timer,
            scratch,
            train_dataloaders=loader,
            callbacks=instantiate(diagnose, folder=Path(scratch)),
        )
    bare_s, ratio = timer.compare()[0], timer.total_ratio(2 * period)
    case = f"ResNet18, batch {BATCH}, 224 px, {2 * period} training steps with diagnose=default"
    return Row("step", case, 1000 * bare_s * ratio, "bare PyTorch step", 1000 * bare_s, "ms", 1.02, "max")


def _measure_profiler() -> Row:
    """Steps in the window of torch's profiler beside those before and after it: a bare step would be profiled, too."""
    steps = 20
    ours, _, _ = _networks("resnet18.tv_in1k", NUM_CLASSES, 224)
    images = torch.randint(0, 256, (BATCH, 3, 224, 224), dtype=torch.uint8)
    labels = torch.arange(BATCH) % NUM_CLASSES
    window = {"on_issue": "log", "profile": True, "profile_start_step": WARM_UP + steps + 1, "profile_num_steps": steps}
    with tempfile.TemporaryDirectory() as scratch:
        cfg = compose(["diagnose=none", *(f"diagnose.{key}={str(value).lower()}" for key, value in window.items())])
        clock = StepTimes()
        loader = DataLoader([(images, labels)] * (WARM_UP + 3 * steps), batch_size=None)
        callbacks = instantiate(cfg.diagnose, folder=Path(scratch))
        _train(ours, clock, scratch, train_dataloaders=loader, callbacks=callbacks)
    begin = WARM_UP + steps
    inside = statistics.median(clock.seconds[begin : begin + steps - 1])  # the last one writes the files
    outside = statistics.median(clock.seconds[WARM_UP : begin - 1] + clock.seconds[begin + steps :])
    case = f"ResNet18, batch {BATCH}, 224 px, training step with diagnose.profile=true, median of {steps}"
    return Row("step", case, 1000 * inside, "steps outside the window", 1000 * outside, "ms", 1.10, "max")


class StepTimes(Callback):
    """Take down when each step ends."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._mark = 0.0

    def on_train_epoch_start(self, *_) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_end(self, *_) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._mark)
        self._mark = now


def _measure_with_pictures(architecture: str) -> Row:
    """Our step with all that comes before it, from the second epoch on, beside a step on a tensor that stays."""
    with tempfile.TemporaryDirectory() as scratch:
        ours, bare, optimizer = _networks(architecture, NUM_CLOTHES, 224)
        augment, cache = AugmentSettings(), Path(scratch, "cache")
        data = ImageDataModule(PHOTOS["clothing"], augment=augment, preprocessing=ours.preprocessing, cache=cache)
        data.setup("fit")
        list(data.train_dataloader())  # decodes
        images = torch.randn(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
        labels = torch.arange(BATCH) % NUM_CLOTHES
        timer = BareStep(bare, optimizer, labels, lambda: images, auto_precision("cpu"))
        _train(ours, timer, scratch, datamodule=data)
    bare_s, ours_s = timer.compare()
    case = f"{architecture}, batch {BATCH}, 224 px, cached photographs, training, median of {len(timer.ours_s)} pairs"
    return Row("step", case, BATCH / ours_s, "network alone", BATCH / bare_s, "images/s", 0.95)


def _networks(architecture: str, num_classes: int, size_px: int):
    """Make ours, and a copy with an optimiser for the bare step."""
    torch.manual_seed(0)
    names = [f"class {k}" for k in range(num_classes)]
    ours = ImageClassifier(architecture, names, pretrained=False, input_size_px=size_px)
    bare = copy.deepcopy(ours.net).train()
    return ours, bare, torch.optim.AdamW(bare.parameters(), lr=1e-4, fused=True)


@keeping_freed_memory()
def _train(ours: ImageClassifier, timer: Callback, scratch: str, *, callbacks=(), logger=False, **more) -> None:
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    record = EpochRecord(Path(scratch, "metrics.csv"), BATCH)
    settings = {name: more.pop(name) for name in ("gradient_clip_val", "log_every_n_steps") if name in more}
    trainer = L.Trainer(
        accelerator="cpu",
        precision=auto_precision("cpu"),
        max_epochs=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=scratch,
        logger=logger,
        callbacks=[record, RunProgress(record), *callbacks, timer],
        **settings,
    )
    trainer.fit(ours, **more)
