"""`finetune=head` on real photographs: accuracy and wall time beside the notebooks' loop, three seeds each."""

import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, WEIGHTS, Timed, notebook_loop, train
from benchmarks.record import Row, mean

SEEDS = (0, 1, 2)
EPOCHS = 12
# A linear head on features extracted once, 60 epochs, minus one standard error of the test split.
FEATURES_ONCE = {"dogs-small": 0.89, "clothing": 0.82}
LIMIT_S = 600


def run() -> list[Row]:
    """Train on both sets, ours and the peer's in turn."""
    if not WEIGHTS.is_file():
        print(f"  skipped: {WEIGHTS} is not here (DOGBREED_SHARED names the folder that holds data/ and weights/)")
        return []
    rows = []
    for name, folder in PHOTOS.items():
        ours, peers = [], []
        for seed in SEEDS:
            ours.append(_ours(folder, seed))
            peers.append(notebook_loop(folder, EPOCHS, seed))
            rows.append(_row(f"{name}, test top-1, seed {seed}", _accuracy(ours[-1:]), _accuracy(peers[-1:])))
            print(f"  {rows[-1].case}: ours {rows[-1].ours:.3f} in {ours[-1].seconds:.0f} s, "
                  f"notebook loop {rows[-1].peer:.3f} in {peers[-1].seconds:.0f} s", flush=True)  # fmt: skip
        accuracy, seconds = _accuracy(ours), mean([one.seconds for one in ours])
        target = FEATURES_ONCE[name]
        rows += [
            _row(f"{name}, test top-1, mean of 3 seeds", accuracy, _accuracy(peers), target=1.0),
            Row("head", f"{name}, test top-1, mean of 3 seeds", accuracy, "features once − 1 SE", target, "share", 1.0),
            _row(f"{name}, whole command", seconds, mean([one.seconds for one in peers]), "s"),
            Row("head", f"{name}, whole command", seconds, "limit", LIMIT_S, "s", 1.0, "max"),
        ]
    return rows


def _row(case: str, ours: float, peer: float, unit: str = "share", target: float | None = None) -> Row:
    return Row("head", f"{case}, {EPOCHS} epochs", ours, "notebook loop", peer, unit, target)


def _accuracy(runs: list[Timed]) -> float:
    return mean([one.metrics["test/acc_top1"] for one in runs])


def _ours(folder: Path, seed: int) -> Timed:
    with tempfile.TemporaryDirectory() as scratch:
        return train(
            "data=folder",
            f"data.root='{folder}'",
            "model=mobilenetv2",
            f"model.weights='{WEIGHTS}'",
            "finetune=head",
            f"trainer.max_epochs={EPOCHS}",
            f"seed={seed}",
            run_dir=Path(scratch, "run"),
        )
