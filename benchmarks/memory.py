"""What loading pictures with four processes keeps in memory: over ten epochs, and beside torchvision's plain loader."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, TOP
from benchmarks.record import Row

EPOCHS, WORKERS = 10, 4
FLAT, PLAIN = 1.05, 1.2
WARM_UP = 2


def run() -> list[Row]:
    """Measure after each epoch; Linux only."""
    if not PHOTOS["clothing"].is_dir() or not Path("/proc/self/smaps_rollup").exists():
        print("  skipped: it takes Linux and the photographs (DOGBREED_SHARED names the folder that holds data/)")
        return []
    found = {name: _measure(name) for name in ("ours", "torchvision")}
    for name, sizes in found.items():
        print(f"  {name}: {', '.join(f'{size / 1e6:.0f}' for size in sizes)} MB", flush=True)
    ours, theirs = (sizes[WARM_UP:] for sizes in found.values())
    case = f"clothing, {WORKERS} loader processes, memory"
    return [
        Row("memory", f"{case} after epoch {EPOCHS}", ours[-1] / 1e6, f"epoch {WARM_UP + 1}", ours[0] / 1e6, "MB",
            FLAT, "max"),
        Row("memory", f"{case}, most of epochs {WARM_UP + 1} to {EPOCHS}", max(ours) / 1e6, "torchvision's loader",
            max(theirs) / 1e6, "MB", PLAIN, "max"),
    ]  # fmt: skip


def own_bytes() -> int:
    """Return what this process holds for itself, files that it reads through the page cache not counted."""
    return _rollup("self", "Private_Dirty:")


def tree_bytes() -> int:
    """Return what this process and its children hold, shared pages counted once, files' pages not."""
    children = Path("/proc/self/task").glob("*/children")
    pids = ["self", *(pid for file in children for pid in file.read_text().split())]
    return sum(_rollup(pid, "Pss_Anon:") + _rollup(pid, "Pss_Shmem:") for pid in pids)


def _rollup(pid: str, *names: str) -> int:
    lines = Path("/proc", pid, "smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(names))


def _measure(name: str) -> list[int]:
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "benchmarks.memory", name, str(PHOTOS["clothing"]), cache]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# -- ten epochs in a process of its own ---------------------------------------


def _ours(root: Path, cache: str):
    from dogbreed import AugmentSettings, ImageDataModule

    data = ImageDataModule(root, augment=AugmentSettings(), cache=cache, num_workers=WORKERS)
    data.setup("fit")
    return data.train_dataloader()


def _torchvision(root: Path, _: str):
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [transforms.RandomResizedCrop(224, scale=(0.5, 1.0)), transforms.RandomHorizontalFlip(),
             transforms.ToTensor()]  # fmt: skip
    dataset = ImageFolder(root / "train", transforms.Compose(steps))
    return DataLoader(dataset, 32, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)


def main(name: str, root: str, cache: str) -> None:
    loader = {"ours": _ours, "torchvision": _torchvision}[name](Path(root), cache)
    sizes = []
    for _ in range(EPOCHS):
        batches = iter(loader)
        for _, _ in zip(range(len(loader) - 1), batches, strict=False):
            pass
        sizes.append(tree_bytes())  # with the epoch's last batch still to come: the processes are at work
        for _ in batches:
            pass
    print(json.dumps(sizes))


if __name__ == "__main__":
    main(*sys.argv[1:])
