"""A run folder made up in a moment: 10,000 steps, 133 classes, four GPUs, and names that nobody should have."""

import json

import numpy as np
from PIL import Image

from dogbreed.files import write_csv, write_json

EVIL = "<script>document.title='broken'</script> \"quoted\" & 'more'"
ODD = "caf\udce9.jpg"
NUM_STEPS, NUM_CLASSES = 10_000, 133
PHASES = ("wait_s", "transfer_s", "forward_s", "backward_s", "optimizer_s", "callbacks_s")


def class_names():
    return [f"{number:03d}.{EVIL if number == 7 else 'Some_breed'}" for number in range(NUM_CLASSES)]


def write_big_run(folder):
    rng = np.random.default_rng(0)
    (folder / "profile").mkdir(parents=True)
    (folder / "thumbs").mkdir()
    (folder / ".hydra").mkdir()
    _write_training(folder, rng)
    _write_answers(folder, rng)
    operators = [
        {"name": name, "calls": 10, "cpu_ms": cpu, "cpu_total_ms": cpu, "gpu_ms": gpu}
        for name, cpu, gpu in (("aten::convolution", 12.5, 400.0), ("void kernel<float, (Kind)0>()", 0, 99.5))
    ]
    write_csv(folder / "profile" / "operators.csv", operators)
    (folder / ".hydra" / "overrides.yaml").write_text(f"- {json.dumps('data.root=' + EVIL)}\n")
    settings = "data: {num_workers: 2}\ntrainer: {max_epochs: 25}\nmodel: {architecture: resnet50}\n"
    (folder / "config.yaml").write_text(settings)
    machine = {"cpu": "a CPU", "num_cpus": 16, "memory_gb": 128.0, "gpus": ["A10G"] * 4}
    write_json(folder / "run.json", {"state": "completed", "seconds": 1043.0, "error": None, "machine": machine})
    metrics = {"test/acc_top1": 0.84, "val/acc_top1": 0.85, "seconds": 1043.0, "data_wait_share": 0.19}
    write_json(folder / "metrics.json", metrics)
    rule = {"first_step": 20, "count": 3, "advice": "Do.", "parameters": {"limit": 1.0}}
    rules = [{"name": name, "verdict": "issue", "evidence": EVIL, **rule} for name in ("dataloader", "overfit", "mine")]
    write_json(folder / "diagnosis.json", [*rules, {"name": "dead_relu", "verdict": "ok"}])


def _write_training(folder, rng):
    steps = np.arange(1, NUM_STEPS + 1)
    phases = np.abs(rng.normal([0.005, 0.001, 0.03, 0.06, 0.008, 0.001], 0.001, (NUM_STEPS, 6)))
    phases[rng.choice(NUM_STEPS, 40, replace=False), 0] += 1
    loss = 0.6 + 4 * np.exp(-steps / 1800) + rng.normal(0, 0.1, NUM_STEPS)
    columns = {"step": steps, "loss": loss, "seconds": phases.sum(axis=1) + 0.002}
    columns |= dict(zip(PHASES, phases.T, strict=True))
    write_csv(folder / "steps.csv", _rows(columns))
    epochs = np.arange(1, 26)
    fall = np.exp(-epochs / 4)
    columns = {
        "epoch": epochs,
        "train/loss": 0.7 + 3 * fall,
        "val/loss": 1.2 + 2 * fall + 0.03 * np.maximum(0, epochs - 12),
    }
    columns |= {"train/acc_top1": 0.9 - 0.8 * fall, "val/acc_top1": 0.85 - 0.8 * fall}
    write_csv(folder / "metrics.csv", _rows(columns | {"lr/head": 1e-3 * fall, "lr/backbone": 1e-4 * fall}))
    seconds = np.arange(0, 1000, 2.0)
    columns = {"seconds": seconds, "step": 10 * seconds, "io_wait": 0 * seconds, "memory_gb": 8 + 0 * seconds}
    columns |= {f"cpu{core}": rng.random(len(seconds)) for core in range(16)}
    for gpu in range(4):
        columns |= {f"gpu{gpu}": rng.random(len(seconds)), f"gpu{gpu}_memory": 0.5 + 0 * seconds}
    write_csv(folder / "system.csv", _rows(columns))


def _write_answers(folder, rng):
    names = class_names()
    labels = np.repeat(np.arange(NUM_CLASSES), 7)
    answers = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, NUM_CLASSES, len(labels)))
    sure = np.clip(rng.beta(5, 2, len(labels)), 0.01, 1)
    predictions = [
        {"split": "test", "file": f"{EVIL}/{ODD}", "label": names[label], "predicted": names[answer], "probability": x}
        for label, answer, x in zip(labels.tolist(), answers.tolist(), sure.tolist(), strict=True)
    ]
    write_csv(folder / "predictions.csv", predictions)
    cells, counts = np.unique(np.stack([labels, answers]), axis=1, return_counts=True)
    confusion = [
        {"split": "test", "label": names[label], "predicted": names[answer], "count": amount}
        for (label, answer), amount in zip(cells.T.tolist(), counts.tolist(), strict=True)
    ]
    write_csv(folder / "confusion.csv", confusion)
    classes = [
        {"split": "test", "class": name, "pictures": 7, "precision": "", "recall": 0.5, "f1": place / NUM_CLASSES}
        for place, name in enumerate(names)
    ]
    write_csv(folder / "classes.csv", classes)
    Image.new("RGB", (160, 120), (200, 120, 40)).save(folder / "thumbs" / "one.jpg")
    thumb = {
        "thumb": "one.jpg",
        "split": "test",
        "file": ODD,
        "label": names[7],
        "predicted": names[8],
        "probability": 0.97,
    }
    write_csv(folder / "thumbs" / "index.csv", [thumb])


def _rows(columns):
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*(map(float, x) for x in columns.values()), strict=True)
    ]
