"""A sweep's folder made up in a moment: as many trials as one likes, pruned, failed and running ones among them."""

import math

import numpy as np

from dogbreed.files import write_csv, write_json

PARAMS = {
    "optim.lr": "tag(log, interval(3e-4, 3e-2))",
    "optim.weight_decay": "tag(log, interval(1e-4, 0.3))",
    "loss.label_smoothing": "interval(0.0, 0.2)",
    "augment": "choice(light, standard, strong)",
    "data.batch_size": "choice(16, 32, 64, 128)",
    "trainer.max_epochs": "int(interval(5, 10))",
}


def write_made_up_sweep(folder, num_trials, objectives=("val/acc_top1",), state="completed"):
    """Write sweep.json through the code that sweeps use, and run folders for it to read."""
    from dogbreed.sweeps.record import write_sweep

    rng = np.random.default_rng(0)
    for number in range(num_trials):
        _write_trial(folder / str(number), number, rng, is_last=state == "running" and number == num_trials - 1)
    modes = ["max", "min"][: len(objectives)]
    typed = ["sweep=head", "data=folder", "data.root=photos", "model=mobilenetv2"]
    return write_sweep(folder, engine="tpe", search_space=typed, objectives=objectives, modes=modes, params=PARAMS,
                       state=state, with_importance=True)  # fmt: skip


def _write_trial(folder, number, rng, *, is_last):
    (folder / ".hydra").mkdir(parents=True)
    pull = min(0.8, number / 60)  # the search closes in on what is good
    lr = 10 ** (rng.uniform(-3.5, -1.5) * (1 - pull) + pull * (-2.6 + 0.15 * rng.normal()))
    decay, smoothing = 10 ** rng.uniform(-4, -0.5), rng.uniform(0, 0.2)
    augment, batch = rng.choice(["light", "standard", "strong"]), int(rng.choice([16, 32, 64, 128]))
    num_epochs = int(rng.integers(5, 11))
    values = {"optim.lr": lr, "optim.weight_decay": decay, "loss.label_smoothing": smoothing, "augment": augment,
              "data.batch_size": batch, "trainer.max_epochs": num_epochs}  # fmt: skip
    overrides = ["sweep=head", "data=folder", "data.root=photos", "model=mobilenetv2", "trial.number=3"]
    lines = [*overrides, *(f"{key}={value}" for key, value in values.items())]
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {line}\n" for line in lines))
    good = 0.925 - 0.05 * (math.log10(lr) + 2.6) ** 2 - 0.012 * (math.log10(decay) + 1.5) ** 2
    good += {"light": -0.008, "standard": 0.004, "strong": 0.0}[augment] - 0.0001 * batch + 0.004 * rng.normal()
    seconds = (20 + 400 / batch) * num_epochs / 8
    is_sick, is_pruned, is_failed = lr > 0.022 or number == 14, number > 5 and rng.random() < 0.22, number % 17 == 11
    seen = num_epochs if not (is_sick or is_pruned) else 2
    epochs = np.arange(1, seen + 1)
    accuracy = good - 0.3 * np.exp(-epochs / 1.6) + 0.004 * rng.normal(size=seen)
    if is_sick:
        accuracy = np.full(seen, 0.08)
    run = {"state": "completed", "seconds": seconds * seen / num_epochs, "error": None}
    if is_failed:
        write_json(
            folder / "run.json",
            run | {"state": "failed", "error": "The memory of cuda:0 does not hold 128 <pictures>."},
        )
        return
    if is_last:
        write_json(folder / "run.json", {"state": "running"})
        return
    if is_sick:
        run |= {
            "state": "pruned",
            "reason": "exploding_tensor at step 40: gradients of 3e8",
            "issue": "exploding_tensor",
        }
        write_json(folder / "diagnosis.json", [{"name": "exploding_tensor", "verdict": "issue"}])
    elif is_pruned:
        run |= {
            "state": "pruned",
            "reason": f"After epoch 2 val/acc_top1 {accuracy[-1]:.3f} is below the median, 0.861.",
        }
    write_json(folder / "run.json", run)
    best = float(accuracy.max())
    metrics = {"val/acc_top1": best, "val/f1_macro": best - 0.01, "val/loss": 1.4 - best, "seconds": run["seconds"]}
    write_json(folder / "metrics.json", metrics)
    rows = [{"epoch": int(epoch), "val/acc_top1": float(top), "val/loss": float(1.4 - top)}
            for epoch, top in zip(epochs, accuracy, strict=True)]  # fmt: skip
    write_csv(folder / "metrics.csv", rows)
    if number % 3 == 0:
        (folder / "report.html").write_text("")
