"""Every way of fine-tuning with every augmentation preset, and each trick by itself, on real photographs.

Hours on two cores, so each run is kept as soon as it is done, and a second call goes on with what is missing.
"""

import itertools
import math
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.commands import PHOTOS, WEIGHTS, Timed, notebook_loop, train
from benchmarks.record import RESULTS, Row, machine_name, mean
from dogbreed.config.hardware import auto_precision
from dogbreed.files import read_csv, write_csv
from dogbreed.machine import source_revision
from dogbreed.tables import format_table

SEEDS = (0, 1, 2)
EPOCHS = 3
RUNS = RESULTS / "recipes_runs.csv"

# finetune=auto is full on these weights. The first of each is the default.
FINETUNE = ("full", "head", "layer_decay", "discriminative", "head_then_full")
AUGMENT = ("standard", "light", "none", "strong")
GRID = {f"{finetune}, {augment}": (f"finetune={finetune}", f"augment={augment}")
        for augment, finetune in itertools.product(AUGMENT, FINETUNE)}  # fmt: skip
AUTO = "full, standard"

# One thing changed in the default.
TRICKS = {
    "no label smoothing": ("loss.label_smoothing=0",),
    "EMA": ("ema=default",),
    "gradient clipping at 1": ("trainer.gradient_clip_val=1.0",),
    "mixup": ("augment.mix.probability=0.5", "augment.mix.cutmix_alpha=0"),
    "cutmix": ("augment.mix.probability=0.5", "augment.mix.mixup_alpha=0"),
    "random erasing": ("augment.erase_probability=0.25",),
    "two distortions": ("augment.num_distortions=2",),
    "BatchNorm statistics train": ("finetune.batchnorm=train",),
    "balanced sampling": ("data.sampling=balanced",),
    "balanced class weights": ("loss.class_weights=balanced",),
    "two batches a step": ("trainer.accumulate_grad_batches=2",),
}
# What the caches of pictures and features cost in accuracy, and save in seconds.
PLAIN = {
    "full, standard, no cache": ("finetune=full", "data.cache=none"),
    "head, standard, no cache": ("finetune=head", "data.cache=none", "data.num_views=0"),
}
CASES = {**GRID, **TRICKS, **PLAIN}

# The peer that runs here, in the same conditions, and peers whose figures the data set's README gives: test top-1 and
# seconds of the whole run, the same pictures and weights on two cores.
LOOP, LOOP_EPOCHS = "notebook loop", 5
PEERS = {
    "dogs-small": {"fastai fine_tune(4)": (0.771, 398), "plain full, 8 epochs": (0.821, 455),
                   "notebook loop, 5 epochs": (0.664, 137)},
    "clothing": {"notebook loop, 5 epochs": (0.363, 114)},
}  # fmt: skip
MAX_ECE = 0.04
NUM_TEST_PICTURES = {"dogs-small": 280, "clothing": 372}


def run() -> list[Row]:
    """Train what has not been trained yet, what is judged first."""
    if not WEIGHTS.is_file():
        print(f"  skipped: {WEIGHTS} is not here (DOGBREED_SHARED names the folder that holds data/ and weights/)")
        return []
    for seed, case, data in _order():
        if not _found(case, data, seed):
            _keep(case, data, seed)
    print(summary())
    return judge()


def _order() -> list[tuple[int, str, str]]:
    standard = [case for case in GRID if case.endswith("standard")]
    others = [case for case in CASES if case not in standard]
    blocks = ((SEEDS, standard), (SEEDS[:1], [LOOP]), (SEEDS, others))
    return [run for seeds, cases in blocks for run in itertools.product(seeds, cases, PHOTOS)]


def summary() -> str:
    """Return a table a case: accuracy, calibration and seconds on both sets, means of the seeds that are there."""
    rows = []
    for case in [*CASES, LOOP]:
        cells: list[object] = [case]
        for data in PHOTOS:
            runs = _found(case, data)
            cells += [_mean(runs, "acc_top1"), _mean(runs, "ece"), _seconds(runs), len(runs)]
        rows.append(cells)
    columns = [f"{data} {name}" for data in PHOTOS for name in ("top-1", "ece", "s", "runs")]
    return format_table(["case", *columns], rows)


def grid_table() -> str:
    """Return the grid as Markdown: a row a mode and preset, the best of those with all seeds in bold."""
    lines = [
        "| `finetune=` | `augment=` | dogs: top-1 | ECE | s | clothes: top-1 | ECE | s | seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    whole = [case for case in GRID if all(len(_found(case, data)) >= len(SEEDS) for data in PHOTOS)]
    best = {data: max((_mean(_found(case, data), "acc_top1") for case in whole), default=0.0) for data in PHOTOS}
    for finetune, augment in itertools.product(FINETUNE, AUGMENT):
        case = f"{finetune}, {augment}"
        cells, counts = [], []
        for data in PHOTOS:
            runs = _found(case, data)
            accuracy = _mean(runs, "acc_top1")
            shown = f"**{accuracy:.3f}**" if case in whole and accuracy == best[data] else f"{accuracy:.3f}"
            cells += [shown, f"{_mean(runs, 'ece'):.3f}", f"{_seconds(runs):.0f}"]
            counts.append(len({run["seed"] for run in runs}))
        lines.append(f"| {finetune} | {augment} | {' | '.join(cells)} | {min(counts)} |".replace("nan", "–"))
    return "\n".join(lines)


def tricks_table() -> str:
    """Return the tricks as Markdown: what each adds to the default's top-1, in points, with the same seeds."""
    lines = ["| changed | dogs | clothes | seeds |", "|---|---|---|---|"]
    for case in TRICKS:
        cells, counts = [], []
        for data in PHOTOS:
            runs = _found(case, data)
            plain = {run["seed"]: float(run["acc_top1"]) for run in _found(AUTO, data)}
            differences = [100 * (float(run["acc_top1"]) - plain[run["seed"]]) for run in runs if run["seed"] in plain]
            cells.append(f"{mean(differences):+.1f}" if differences else "–")
            counts.append(len(differences))
        lines.append(f"| {case} | {' | '.join(cells)} | {min(counts)} |")
    return "\n".join(lines)


def judge() -> list[Row]:
    """Hold the means against what they must reach."""
    rows = []
    for data in PHOTOS:
        auto = _found(AUTO, data)
        best_case = max((case for case in GRID if _found(case, data)), default=AUTO,
                        key=lambda case: _mean(_found(case, data), "val_acc_top1"))  # fmt: skip
        best, mean_auto = _mean(_found(best_case, data), "acc_top1"), _mean(auto, "acc_top1")
        head, full = (_mean(_found(f"{mode}, standard", data), "acc_top1") for mode in ("head", "full"))
        ece = _mean(auto, "ece")
        rows += [
            _row(f"{data}, finetune=auto, test top-1", mean_auto, f"best of the grid − 1 SE ({best_case})",
                 best - _standard_error(best, data)),
            _row(f"{data}, finetune=full, test top-1", full, "finetune=head − 1 SE",
                 head - _standard_error(head, data)),
            Row("recipes", f"{data}, finetune=auto, calibration error", ece, "limit", MAX_ECE, "share", 1.0, "max"),
        ]  # fmt: skip
        loop = _found(LOOP, data)
        measured = {f"{LOOP}, {LOOP_EPOCHS} epochs, here": (_mean(loop, "acc_top1"), _seconds(loop))}
        for name, (accuracy, seconds) in (PEERS[data] | measured).items():
            # The head is the peer of what trains a head.
            ours = "head" if name.startswith(LOOP) else "auto"
            runs = _found("head, standard" if ours == "head" else AUTO, data)
            case = f"{data}, finetune={ours}"
            rows += [
                _row(f"{case}, test top-1", _mean(runs, "acc_top1"), name, accuracy),
                Row("recipes", f"{case}, whole command", _seconds(runs), name, seconds, "s", 1.0, "max"),
            ]
    return [row for row in rows if not math.isnan(row.ours * row.peer)]


def _row(case: str, ours: float, peer_name: str, peer: float) -> Row:
    return Row("recipes", f"{case}, {EPOCHS} epochs", ours, peer_name, peer, "share", 1.0)


def _standard_error(accuracy: float, data: str) -> float:
    """Of a share of the test pictures; seeds share the pictures, so that more of them make it no smaller."""
    return math.sqrt(accuracy * (1 - accuracy) / NUM_TEST_PICTURES[data])


def _keep(case: str, data: str, seed: int) -> None:
    if case == LOOP:
        epochs, timed = LOOP_EPOCHS, notebook_loop(PHOTOS[data], LOOP_EPOCHS, seed)
    else:
        epochs, timed = EPOCHS, _ours(case, data, seed)
    metrics = ("test/acc_top1", "test/loss", "test/ece", "test/ece_uncalibrated", "val/acc_top1")
    found = {name.removeprefix("test/").replace("/", "_"): timed.metrics.get(name, math.nan) for name in metrics}
    row = {
        "case": case, "data": data, "seed": seed, "epochs": epochs,
        **{name: round(value, 5) for name, value in found.items()},
        "seconds": round(timed.seconds, 1), "precision": auto_precision("auto"), "machine": machine_name(),
        "revision": source_revision(), "date": date.today().isoformat(),
    }  # fmt: skip
    write_csv(RUNS, [*read_csv(RUNS), row])
    print(f"  {case}, {data}, seed {seed}: {row['acc_top1']:.3f} in {row['seconds']:.0f} s", flush=True)


def _ours(case: str, data: str, seed: int) -> Timed:
    with tempfile.TemporaryDirectory() as scratch:
        return train(
            "data=folder",
            f"data.root='{PHOTOS[data]}'",
            f"data.cache='{Path(scratch, 'cache')}'",  # as for who trains on these pictures for the first time
            "model=mobilenetv2",
            f"model.weights='{WEIGHTS}'",
            f"trainer.max_epochs={EPOCHS}",
            f"seed={seed}",
            "logger=none",
            *CASES[case],
            run_dir=Path(scratch, "run"),
        )


def _found(case: str, data: str, seed: int | None = None) -> list[dict[str, str]]:
    return [
        row for row in read_csv(RUNS) if (row["case"], row["data"]) == (case, data) and seed in (None, int(row["seed"]))
    ]


def _mean(runs: list[dict[str, str]], name: str) -> float:
    return mean([float(run[name]) for run in runs]) if runs else math.nan


def _seconds(runs: list[dict[str, str]]) -> float:
    """Of the quickest: whatever else runs on a machine only adds to them. Not of runs that shared one (nan)."""
    seconds = [float(run["seconds"]) for run in runs]
    return min((value for value in seconds if not math.isnan(value)), default=math.nan)
