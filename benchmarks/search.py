"""A search over a head on real photographs: wall time, what it finds, what a trial costs beside its training.

Then TPE beside random search at equal trials: the same pictures, each seed a search of its own, none ended early.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, WEIGHTS, train
from benchmarks.commands import run as run_command
from benchmarks.record import Row, mean

TRIALS, LIMIT_S, LIMIT_OVERHEAD_S = 40, 240, 0.3
SEEDS, TRIALS_EACH = range(5), 20
NAME = "dogs-small"


def run() -> list[Row]:
    """Search for someone who sees these pictures for the first time, train the winner, then compare two engines."""
    if not WEIGHTS.is_file():
        print(f"  skipped: {WEIGHTS} is not here (DOGBREED_SHARED names the folder that holds data/ and weights/)")
        return []
    with tempfile.TemporaryDirectory() as scratch:
        sweep = Path(scratch, "sweep")
        cache = Path(scratch, "cache")
        seconds = _search(sweep, cache, f"hydra.sweeper.n_trials={TRIALS}")
        record = json.loads((sweep / "sweep.json").read_text())
        overhead_s = _overhead_s(sweep, record["trials"])
        values = {trial["number"]: trial["values"][0] for trial in record["trials"]}
        best, default = values[record["best"]], values[0]
        pruned = sum(trial["state"] == "pruned" for trial in record["trials"])
        print(f"  {seconds:.0f} s, {pruned} pruned, best {best:.4f}, default {default:.4f}", flush=True)
        winner = train(f"from_sweep='{sweep}'", f"data.cache='{cache}'", run_dir=Path(scratch, "winner"))
        plain = train(*_fixed(cache), "finetune=head", "trainer.max_epochs=24", run_dir=Path(scratch, "plain"))
        engines = {
            engine: [_best(Path(scratch), cache, engine, seed) for seed in SEEDS] for engine in ("tpe", "random")
        }
    case = f"{NAME}, sweep=head, {TRIALS} trials"
    test = "test/acc_top1"
    return [
        Row("search", f"{case}, whole command", seconds, "limit", LIMIT_S, "s", 1.0, "max"),
        Row("search", f"{case}, a trial beside its run", overhead_s, "limit", LIMIT_OVERHEAD_S, "s", 1.0, "max"),
        Row("search", f"{case}, best val top-1", best, "the default recipe, trial 0", default, "share"),
        Row("search", f"{case}, winner, twice the epochs, test top-1", winner.metrics[test],
            "the default recipe, as many epochs", plain.metrics[test], "share"),
        Row("search", f"{NAME}, {TRIALS_EACH} trials, best val top-1, mean of {len(SEEDS)} seeds", mean(engines["tpe"]),
            "engine=random", mean(engines["random"]), "share"),
    ]  # fmt: skip


def _fixed(cache: Path) -> list[str]:
    data = [f"data.root='{PHOTOS[NAME]}'", f"data.cache='{cache}'"]
    return ["data=folder", *data, "model=mobilenetv2", f"model.weights='{WEIGHTS}'"]


def _search(sweep: Path, cache: Path, *more: str) -> float:
    command = [sys.executable, "-m", "dogbreed.train", "-m", "sweep=head", *_fixed(cache), *more]
    return run_command([*command, f"hydra.sweep.dir='{sweep}'"])


def _overhead_s(sweep: Path, trials: list[dict]) -> float:
    """Return the seconds from one trial's beginning to the next one's that its run does not account for."""
    import optuna

    (name,) = optuna.get_all_study_names(f"sqlite:///{sweep}/study.db")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{sweep}/study.db")
    begun = [trial.datetime_start.timestamp() for trial in study.trials]
    own = [trial["seconds"] for trial in trials]
    return mean([after - before - ran for before, after, ran in zip(begun[:-1], begun[1:], own[:-1], strict=True)])


def _best(scratch: Path, cache: Path, engine: str, seed: int) -> float:
    sweep = scratch / f"{engine}_{seed}"
    more = [f"hydra.sweeper.engine={engine}", f"hydra.sweeper.seed={seed}", f"hydra.sweeper.n_trials={TRIALS_EACH}"]
    # All trials are drawn by the engine: the default one would be the same for both.
    _search(sweep, cache, *more, "hydra.sweeper.pruner=none", "hydra.sweeper.default_trial=false", "report=false")
    record = json.loads((sweep / "sweep.json").read_text())
    best = next(trial["values"][0] for trial in record["trials"] if trial["number"] == record["best"])
    print(f"  {engine}, seed {seed}: {best:.4f}", flush=True)
    return best
