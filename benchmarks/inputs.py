"""Pictures a second that the input pipeline hands to training, beside what notebooks and timm use, on one core.

Each epoch of each pipeline is a process of its own on one thread without loader processes, so that what is compared is
work, not scheduling; they take turns.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.commands import PHOTOS, TOP
from benchmarks.record import Row, median

ROUNDS = 5
PEERS = ("torchvision", "timm")
FIRST, LATER = 1.5, 6.0


def run() -> list[Row]:
    """Compare the first epoch, which decodes, and later ones."""
    if not PHOTOS["clothing"].is_dir():
        print(f"  skipped: {PHOTOS['clothing']} is not here (DOGBREED_SHARED names the folder that holds data/)")
        return []
    speeds: dict[str, list[float]] = {name: [] for name in ("ours, first", "ours, later", *PEERS)}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            for name in ("ours, first", "ours, later"):
                speeds[name].append(_epoch("ours", cache))
        for name in PEERS:
            speeds[name].append(_epoch(name))
        print("  " + ", ".join(f"{name} {values[-1]:.0f}" for name, values in speeds.items()), flush=True)
    rows = []
    for when, target in (("first", FIRST), ("later", LATER)):
        # Of neighbours in time: load that comes and goes hits all of a round.
        for peer in PEERS:
            ratio = median([ours / theirs for ours, theirs in zip(speeds[f"ours, {when}"], speeds[peer], strict=True)])
            theirs = median(speeds[peer])
            case = f"clothing, {when} epoch, one core, median of {ROUNDS} rounds"
            rows.append(Row("inputs", case, ratio * theirs, f"{peer}'s loader", theirs, "images/s", target))
    return rows


def _epoch(name: str, cache: str = "") -> float:
    command = [sys.executable, "-m", "benchmarks.inputs", name, str(PHOTOS["clothing"]), cache]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


# -- one epoch in a process of its own ----------------------------------------


def _ours(root: Path, cache: str):
    from dogbreed import AugmentSettings, ImageDataModule

    data = ImageDataModule(root, augment=AugmentSettings(), cache=cache)
    data.setup("fit")
    return data.train_dataloader, data.preprocessing.normalize


def _torchvision(root: Path):
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    ours = transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=(0.5, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    dataset = ImageFolder(root / "train", ours)
    return lambda: DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True), None


def _timm(root: Path):
    import torch
    from timm.data import create_dataset, create_loader

    dataset = create_dataset("", root=str(root / "train"))
    loader = create_loader(
        dataset, (3, 224, 224), 32, is_training=True, scale=(0.5, 1.0), color_jitter=None, auto_augment=None,
        num_workers=0, use_prefetcher=False, persistent_workers=False, device=torch.device("cpu"),
    )  # fmt: skip
    return lambda: loader, None


def main(name: str, root: str, cache: str) -> None:
    import torch

    from dogbreed.allocator import keeping_freed_memory
    from dogbreed.data import cache as pixels

    torch.set_num_threads(1)
    pixels.num_cpus = lambda: 1
    make = {"ours": lambda: _ours(Path(root), cache), "torchvision": lambda: _torchvision(Path(root)),
            "timm": lambda: _timm(Path(root))}[name]  # fmt: skip
    make_loader, normalize = make()
    # A run of ours trains under it; the peers' loops have nothing like it.
    with keeping_freed_memory() if name == "ours" else nullcontext():
        started, count = time.perf_counter(), 0
        for batch in make_loader():
            images = normalize(batch[0]) if normalize else batch[0]
            count += len(images)
        seconds = time.perf_counter() - started
    print(json.dumps(count / seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
