"""`finetune=head` on real photographs: accuracy and wall time beside loops that run the backbone in every epoch."""

import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, WEIGHTS, Timed, notebook_loop, train
from benchmarks.record import Row, mean

SEEDS = (0, 1, 2)
EPOCHS = 10
# A linear head on features extracted once, 60 epochs, minus one standard error of the test split.
FEATURES_ONCE = {"dogs-small": 0.89, "clothing": 0.82}
LIMIT_S = 60
PEERS = {"notebook loop": "torchvision", "the same with timm's loader and schedule": "timm"}
FASTER = 0.25


def run() -> list[Row]:
    """Train on both sets; on the dogs in turn with the peers, whose minutes allow one seed."""
    if not WEIGHTS.is_file():
        print(f"  skipped: {WEIGHTS} is not here (DOGBREED_SHARED names the folder that holds data/ and weights/)")
        return []
    rows = []
    for name, folder in PHOTOS.items():
        ours = [_ours(folder, seed) for seed in SEEDS[:1]]
        peers = {}
        for peer, loader in PEERS.items() if name == "dogs-small" else ():
            peers[peer] = notebook_loop(folder, EPOCHS, SEEDS[0], loader)
            print(f"  {name}, {peer}: {_accuracy([peers[peer]]):.3f} in {peers[peer].seconds:.0f} s", flush=True)
        ours += [_ours(folder, seed) for seed in SEEDS[1:]]
        rows += _compare(name, ours, peers)
    return rows


def _compare(name: str, ours: list[Timed], peers: dict[str, Timed]) -> list[Row]:
    accuracy, seconds = _accuracy(ours), mean([one.seconds for one in ours])
    case, command = f"{name}, {EPOCHS} epochs, test top-1, mean of 3 seeds", f"{name}, {EPOCHS} epochs, whole command"
    rows = [Row("head", case, accuracy, "features once − 1 SE", FEATURES_ONCE[name], "share", 1.0),
            Row("head", command, seconds, "limit", LIMIT_S, "s", 1.0, "max")]  # fmt: skip
    for peer, theirs in peers.items():
        rows += [
            Row("head", case, accuracy, f"{peer}, 1 seed", _accuracy([theirs]), "share", 1.0),
            Row("head", command, seconds, peer, theirs.seconds, "s", FASTER, "max"),
        ]
    return rows


def _accuracy(runs: list[Timed]) -> float:
    return mean([one.metrics["test/acc_top1"] for one in runs])


def _ours(folder: Path, seed: int) -> Timed:
    with tempfile.TemporaryDirectory() as scratch:
        timed = train(*head_of(folder, Path(scratch, "cache")), f"seed={seed}", run_dir=Path(scratch, "run"))
    print(f"  {folder.name}, ours: {_accuracy([timed]):.3f} in {timed.seconds:.0f} s", flush=True)
    return timed


def head_of(folder: Path, cache: Path) -> list[str]:
    """Return the overrides of this training, for someone who sees these pictures for the first time."""
    return [
        "data=folder",
        f"data.root='{folder}'",
        f"data.cache='{cache}'",
        "model=mobilenetv2",
        f"model.weights='{WEIGHTS}'",
        "finetune=head",
        f"trainer.max_epochs={EPOCHS}",
    ]
