"""Pictures a second out of packed data, on one core: ours beside webdataset and litdata, decoding the same bytes.

The peers are no part of the project (``pip install webdataset litdata``); what is missing is left out.
"""

import importlib.util
import io
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
PEERS = ("webdataset", "litdata")
BATCH, BUFFER, SEED = 32, 1000, 0
CHUNK_BYTES = 64_000_000


def run() -> list[Row]:
    """Read every picture twice in each of several processes, which take turns; the second time counts."""
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    if not PHOTOS["clothing"].is_dir() or not peers:
        print("  skipped: it takes the photographs (DOGBREED_SHARED) and webdataset or litdata")
        return []
    speeds: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    with tempfile.TemporaryDirectory() as scratch:
        pack = Path(scratch, "pack")
        command = [sys.executable, "-m", "dogbreed.pack", str(PHOTOS["clothing"]), str(pack)]
        subprocess.run(command, cwd=TOP, check=True, capture_output=True)
        for _ in range(ROUNDS):
            for name, found in speeds.items():
                command = [sys.executable, "-m", "benchmarks.packed", name, str(pack), scratch]
                done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
                found.append(float(json.loads(done.stdout.splitlines()[-1])))
    rows = []
    for name in peers:
        ratio = median([ours / theirs for ours, theirs in zip(speeds["ours"], speeds[name], strict=True)])
        theirs = median(speeds[name])
        case = f"clothing, packed in a folder, one core, median of {ROUNDS} rounds"
        rows.append(Row("packed", case, ratio * theirs, name, theirs, "images/s", 1.0))
    return rows


# -- two epochs in a process of its own ---------------------------------------


def _ours(pack: Path, _: Path):
    from dogbreed import AugmentSettings, ImageDataModule

    data = ImageDataModule(pack, augment=AugmentSettings())
    data.setup("fit")
    loader = data.train_dataloader()
    return lambda: (data.preprocessing.normalize(batch.images) for batch in loader)


def _transform():
    from PIL import Image
    from torchvision import transforms

    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=(0.5, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return lambda data: change(Image.open(io.BytesIO(data)).convert("RGB"))


def _webdataset(pack: Path, _: Path):
    import webdataset

    change = _transform()
    shards = sorted(str(file) for file in pack.glob("train-*.tar"))
    dataset = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).shuffle(BUFFER)
    batches = dataset.to_tuple("jpg", "cls").map_tuple(change, int).batched(BATCH)
    return lambda: (images for images, _ in batches)


def _litdata(pack: Path, scratch: Path):
    import litdata
    from torch.utils.data import DataLoader

    folder = scratch / "litdata"
    if not folder.exists():
        import tarfile

        with tarfile.open(next(pack.glob("train-*.tar"))) as archive:
            names = [name for name in archive.getnames() if name.endswith(".jpg")]
            blobs = [archive.extractfile(name).read() for name in names]
        files = scratch / "files"
        files.mkdir()
        for name, blob in zip(names, blobs, strict=True):
            (files / name).write_bytes(blob)
        litdata.optimize(Path.read_bytes, sorted(files.iterdir()), str(folder), chunk_bytes=CHUNK_BYTES, num_workers=1)
    change = _transform()

    class Pictures(litdata.StreamingDataset):
        def __getitem__(self, index):
            return change(super().__getitem__(index))

    return lambda: DataLoader(Pictures(str(folder), shuffle=True, seed=SEED), BATCH)


def main(name: str, pack: str, scratch: str) -> None:
    import torch

    from dogbreed.allocator import keeping_freed_memory
    from dogbreed.data import cache as pixels

    torch.set_num_threads(1)
    pixels.num_cpus = lambda: 1
    make = {"ours": _ours, "webdataset": _webdataset, "litdata": _litdata}[name]
    epoch = make(Path(pack), Path(scratch))
    with keeping_freed_memory() if name == "ours" else nullcontext():
        for _ in range(2):
            started = time.perf_counter()
            count = sum(len(images) for images in epoch())
            seconds = time.perf_counter() - started
    print(json.dumps(count / seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
