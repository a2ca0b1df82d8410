"""The built-in sample: a small network learns it in two minutes, the mean colour does not give it away."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.commands import train
from benchmarks.record import Row, mean
from dogbreed.data.sample import SampleSource

SEEDS = (0, 1, 2)
LIMIT_S = 120


def run() -> list[Row]:
    """Train the default command three times; fit the linear classifier once."""
    root = SampleSource(num_train=120, num_valid=15, num_test=25).prepare()
    colours = _mean_colour_accuracy(root)
    accuracies, seconds = [], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as scratch:
            done = train(f"seed={seed}", run_dir=Path(scratch, "run"))
        accuracies.append(done.metrics["test/acc_top1"])
        seconds.append(done.seconds)
        print(f"  seed {seed}: {accuracies[-1]:.3f} in {seconds[-1]:.0f} s", flush=True)
    case = "resnet18 from scratch, test top-1, mean of 3 seeds"
    return [
        Row("sample", case, mean(accuracies), "required", 0.90, "share", 1.0),
        Row("sample", case, mean(accuracies), "linear classifier on mean colour", colours, "share"),
        Row("sample", "whole command, drawing not included", max(seconds), "limit", LIMIT_S, "s", 1.0, "max"),
    ]


def _mean_colour_accuracy(root: Path) -> float:
    scaler = StandardScaler()
    train_x, train_y = _mean_colours(root / "train")
    test_x, test_y = _mean_colours(root / "test")
    model = LogisticRegression(max_iter=2000).fit(scaler.fit_transform(train_x), train_y)
    return float(model.score(scaler.transform(test_x), test_y))


def _mean_colours(folder: Path) -> tuple[np.ndarray, list[str]]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    colours = [np.asarray(Image.open(file).convert("RGB")).mean(axis=(0, 1)) for file in files]
    return np.array(colours), [file.parent.name for file in files]
