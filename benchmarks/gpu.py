"""Training on a CUDA GPU: end to end beside the network alone, and beside other loaders. Under eight minutes.

python -m benchmarks gpu
"""

import copy
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.record import Row, median

BATCH, SIZE_PX, NUM_CLASSES = 256, 224, 133
NETWORKS = ("resnet50", "resnet18", "mobilenetv3_large_100")
NUM_PICTURES, EPOCHS, PEER_EPOCHS, WORKERS = 6_680, 4, 2, 16
END_TO_END = 0.95
STEPS = 30


def run() -> list[Row]:
    """Train each network on drawn pictures of the size of photographs; peers feed the same step."""
    if not torch.cuda.is_available():
        print("  skipped: there is no CUDA GPU")
        return []
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        root = _draw(Path(scratch, "pictures"))
        for architecture in NETWORKS:
            alone = _network_alone(architecture)
            epochs_s, utilisation = _ours(architecture, root, Path(scratch, "cache"))
            speeds = [NUM_PICTURES // BATCH * BATCH / seconds for seconds in epochs_s]
            ours = median(speeds[1:])
            case = f"{architecture}, bf16, batch {BATCH}, {SIZE_PX} px"
            by_epoch = ", ".join(f"{speed:.0f}" for speed in speeds)
            print(f"  {case}: alone {alone:.0f} images/s, epochs {by_epoch}, utilisation {utilisation:.0f} %, "
                  f"{NUM_PICTURES} pictures in {epochs_s[-1]:.1f} s", flush=True)  # fmt: skip
            rows.append(Row("gpu", f"{case}, later epochs", ours, "network alone", alone, "images/s", END_TO_END))
            rows.append(Row("gpu", f"{case}, first epoch", speeds[0], "network alone", alone, "images/s"))
            rows.append(Row("gpu", f"{case}, median utilisation of later epochs", utilisation, "all", 100.0, "%"))
            if architecture == "resnet18":
                for name, make in {"torchvision": _torchvision, "timm": _timm}.items():
                    theirs = _peer(architecture, make(root))
                    print(f"  {case}, {name}'s loader: {theirs:.0f} images/s", flush=True)
                    peer = f"{name}'s loader, {WORKERS} workers"
                    rows.append(Row("gpu", f"{case}, later epochs", ours, peer, theirs, "images/s", 1.0))
        rows += _decoders(root)
    return rows


def _draw(root: Path) -> Path:
    """Write JPEG files as large as photographs of dogs; a hundred different ones, linked."""
    generator = np.random.default_rng(0)
    originals = []
    root.mkdir()
    for number in range(100):
        height, width = (int(side) for side in generator.integers(300, 600, 2))
        small = Image.fromarray(generator.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
        originals.append(root / f".{number}.jpg")
        small.resize((width, height), Image.Resampling.BICUBIC).save(originals[-1], quality=90)
    for number in range(NUM_PICTURES + NUM_CLASSES):
        folder = root / ("valid" if number < NUM_CLASSES else "train") / f"{number % NUM_CLASSES:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").hardlink_to(originals[number % 100])
    return root


def _network_alone(architecture: str) -> float:
    """Train on one tensor that stays where it is."""
    step = _step(architecture)
    images = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH, device="cuda") % NUM_CLASSES
    for _ in range(5):
        step(images, labels)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(STEPS):
        step(images, labels)
    torch.cuda.synchronize()
    return STEPS * BATCH / (time.perf_counter() - started)


def _classifier(architecture: str):
    from dogbreed import ImageClassifier

    torch.manual_seed(0)
    names = [f"{k:03}" for k in range(NUM_CLASSES)]
    return ImageClassifier(architecture, names, pretrained=False, input_size_px=SIZE_PX, class_counts=[1] * len(names))


def _step(architecture: str):
    net = copy.deepcopy(_classifier(architecture).net).cuda().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)

    def step(images, labels) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _ours(architecture: str, root: Path, cache: Path) -> tuple[list[float], float]:
    """Return the seconds of each epoch, and the median utilisation after the first."""
    import lightning as L
    from lightning.pytorch.callbacks import Callback

    from dogbreed import AugmentSettings, ImageDataModule

    class Clock(Callback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_train_epoch_start(self, *_) -> None:
            torch.cuda.synchronize()
            self._started = time.perf_counter()

        def on_train_epoch_end(self, *_) -> None:
            torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self._started)

    classifier = _classifier(architecture)
    data = ImageDataModule(root, augment=AugmentSettings(), preprocessing=classifier.preprocessing, cache=cache,
                           batch_size=BATCH, num_workers=WORKERS)  # fmt: skip
    data.supply.device = torch.device("cuda", 0)
    clock, sampler = Clock(), Utilisation()
    trainer = L.Trainer(
        accelerator="gpu", devices=1, precision="bf16-mixed", max_epochs=EPOCHS, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
    )  # fmt: skip
    with sampler:
        trainer.fit(classifier, datamodule=data)
    return clock.seconds, sampler.median_of_last(sum(clock.seconds[1:]))


class Utilisation:
    """Asks the driver ten times a second what share of the time the GPU was busy."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._samples.append((time.perf_counter(), torch.cuda.utilization()))

    def median_of_last(self, seconds: float) -> float:
        last = self._samples[-1][0] - seconds
        return median([share for when, share in self._samples if when >= last])


def _torchvision(root: Path):
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [transforms.RandomResizedCrop(SIZE_PX, scale=(0.5, 1.0)), transforms.RandomHorizontalFlip(),
             transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]  # fmt: skip
    dataset = ImageFolder(root / "train", transforms.Compose(steps))
    return DataLoader(dataset, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, pin_memory=True,
                      persistent_workers=True)  # fmt: skip


def _timm(root: Path):
    from timm.data import create_dataset, create_loader

    dataset = create_dataset("", root=str(root / "train"))
    return create_loader(dataset, (3, SIZE_PX, SIZE_PX), BATCH, is_training=True, scale=(0.5, 1.0), color_jitter=None,
                         num_workers=WORKERS, pin_memory=True, persistent_workers=True)  # fmt: skip


def _peer(architecture: str, loader) -> float:
    """Return the images/s of the last epoch."""
    step = _step(architecture)
    for _ in range(PEER_EPOCHS):
        started, count = time.perf_counter(), 0
        for images, labels in loader:
            there = images.to("cuda", non_blocking=True).to(memory_format=torch.channels_last)
            step(there, labels.to("cuda", non_blocking=True))
            count += len(images)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return count / seconds


def _decoders(root: Path) -> list[Row]:
    """Decode by the GPU (nvJPEG) and by one core."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    from dogbreed.data.decode import decode_image

    files = sorted(root.glob(".*.jpg"))
    blobs = [read_file(str(file)) for file in files]
    speeds = {}
    for name, work in {
        "nvJPEG": lambda: decode_jpeg(blobs, mode=ImageReadMode.RGB, device="cuda"),
        "one core": lambda: [decode_image(file) for file in files],
    }.items():
        work()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(5):
            work()
        torch.cuda.synchronize()
        speeds[name] = 5 * len(files) / (time.perf_counter() - started)
    return [Row("gpu", "decoding JPEG, one core", speeds["one core"], "nvJPEG", speeds["nvJPEG"], "images/s")]
