"""The sweeper as Hydra sees it: found for next to nothing, conforming with the grid, right with the other engines."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, LauncherTestSuite

from dogbreed.errors import UserError

GRID = ["hydra/sweeper=dogbreed", "hydra.sweeper.engine=grid", "hydra.sweeper.n_trials=null"]
NUMERIC = ["tpe", "random", "gp", "cmaes", "qmc", "nsga2", "nsga3"]
SLOW = ["random", "gp", "cmaes", "qmc", "nsga2"]


pytestmark = pytest.mark.usefixtures("_root_logger")


# -- what Hydra asks of every sweeper ------------------------------------------


def test_it_is_found():
    found = [plugin for plugin in Plugins.instance().discover(Sweeper) if plugin.__name__ == "SearchSweeper"]
    assert len(found) == 1
    assert found[0].__module__ == "hydra_plugins.dogbreed_optuna.sweeper"


def test_being_found_costs_next_to_nothing():
    code = (
        "import sys, hydra.core.config_store, hydra.plugins.sweeper; before = set(sys.modules)\n"
        "import hydra_plugins.dogbreed_optuna.sweeper; print(*sorted(set(sys.modules) - before))"
    )
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = [name for name in new if not name.startswith(("hydra_plugins", "dogbreed"))]
    assert not {name.partition(".")[0] for name in own} - set(sys.stdlib_module_names), own


@pytest.mark.usefixtures("_as_hydra_was")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", [*GRID, "hydra.sweeper.max_batch_size=2"])])
class TestConformanceInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.usefixtures("_as_hydra_was")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", [*GRID, "hydra.sweeper.max_batch_size=10"])])
class TestSweepsOfLaunchers(LauncherTestSuite):
    """What launchers are tested with, run by this sweeper."""

    # A grid over nothing is one job for Hydra's own sweeper; a search without a space is a mistake here.
    test_sweep_1_job = None
    test_sweep_1_job_strict = None
    test_sweep_1_job_strict_and_bad_key = None
    test_sweep_with_custom_resolver = None


# -- engines --------------------------------------------------------------------


def trials_of(hydra_sweep_runner, folder, task, *overrides):
    """Run a search and return the trials of its study."""
    sweep = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose",
        overrides=["hydra/sweeper=dogbreed", *overrides],
        temp_dir=folder,
    )
    with sweep:  # which removes the folder in the end, but if it fails
        return study_in(folder).trials


def bowl(cfg):
    """Smallest, 0, where foo is 3 and bar is 1e-3."""
    return (cfg.foo - 3) ** 2 / 10 + (math.log10(cfg.bar) + 3) ** 2


BOWL = ("foo=int(interval(-20, 20))", "bar=tag(log, interval(1e-6, 1))")


def study_in(folder):
    address = f"sqlite:///{folder}/study.db"
    (name,) = optuna.get_all_study_names(address)
    return optuna.load_study(study_name=name, storage=address)


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize(
    "engine", [name if name in ("tpe", "gp") else pytest.param(name, marks=pytest.mark.slow) for name in NUMERIC]
)
def test_engines_propose_what_the_space_holds(hydra_sweep_runner, tmp_path, engine):
    seen = []

    def task(cfg):
        seen.append((cfg.foo, cfg.bar))
        return bowl(cfg)

    options = (f"hydra.sweeper.engine={engine}", "hydra.sweeper.n_trials=12")
    trials = trials_of(hydra_sweep_runner, tmp_path, task, *BOWL, *options)
    assert len(seen) == len(set(seen)) == 12
    assert all(isinstance(foo, int) and -20 <= foo <= 20 and 1e-6 <= bar <= 1 for foo, bar in seen)
    # The configuration's own foo=10 comes first; its bar=100 is not in the space.
    assert seen[0][0] == 10
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    assert [trial.value for trial in trials] == [pytest.approx(bowl(_Cfg(*one))) for one in seen]


class _Cfg:
    def __init__(self, foo, bar):
        self.foo, self.bar = foo, bar


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_what_is_learned_is_used(hydra_sweep_runner, tmp_path):
    """TPE's later trials are better than its first, random ones."""
    trials = trials_of(hydra_sweep_runner, tmp_path, bowl, *BOWL, "hydra.sweeper.n_trials=30")
    values = [trial.value for trial in trials]
    assert sorted(values[20:])[5] < sorted(values[:10])[5]
    assert min(values) < 1


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_the_grid_is_the_cartesian_product_in_hydras_order(hydra_sweep_runner, tmp_path):
    seen = []

    def task(cfg):
        seen.append((cfg.foo, cfg.bar))
        if cfg.foo == 2:
            raise ValueError("out of luck")
        return bowl(cfg)

    trials = trials_of(hydra_sweep_runner, tmp_path, task, *GRID[1:], "foo=range(1,5)", "bar=0.5,0.1,1e-3")
    assert seen == list(itertools.product((1, 2, 3, 4), (0.5, 0.1, 0.001)))
    states = [trial.state.name for trial in trials]
    assert states == ["COMPLETE"] * 3 + ["FAIL"] * 3 + ["COMPLETE"] * 6


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize("engine", ["tpe", "random"])
def test_a_small_space_is_gone_through_once(hydra_sweep_runner, tmp_path, engine):
    seen = []

    def task(cfg):
        seen.append((cfg.foo, cfg.bar))
        return bowl(cfg)

    overrides = ["foo=range(1,4)", "bar=0.5,0.1", f"hydra.sweeper.engine={engine}", "hydra.sweeper.n_trials=50"]
    trials_of(hydra_sweep_runner, tmp_path, task, *overrides)
    assert sorted(seen) == sorted(itertools.product((1, 2, 3), (0.5, 0.1)))


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize("engine", ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_same_seed_proposes_the_same_in_any_process(hydra_sweep_runner, tmp_path, engine):
    """Interrupted by Ctrl-C at two places, a search is what it would have been."""
    seen = {"whole": [], "parts": []}
    options = (*BOWL, f"hydra.sweeper.engine={engine}", "hydra.sweeper.n_trials=13", "hydra.sweeper.seed=5")

    def task_of(name, stop_at):
        def task(cfg):
            if len(seen[name]) == stop_at:
                raise KeyboardInterrupt
            seen[name].append((cfg.foo, cfg.bar))
            return bowl(cfg)

        return task

    whole = trials_of(hydra_sweep_runner, tmp_path / "whole", task_of("whole", None), *options)
    for stop_at in (4, 12):
        with pytest.raises(KeyboardInterrupt):
            trials_of(hydra_sweep_runner, tmp_path / "parts", task_of("parts", stop_at), *options)
        assert [trial.state.name for trial in study_in(tmp_path / "parts").trials][-1] == "WAITING"
    parts = trials_of(hydra_sweep_runner, tmp_path / "parts", task_of("parts", None), *options)
    assert seen["parts"] == seen["whole"]
    whole, parts = ([(one.number, one.params, one.values) for one in trials] for trials in (whole, parts))
    assert parts == whole


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_other_seeds_propose_other_values(hydra_sweep_runner, tmp_path):
    found = []
    for seed in ("1", "2", "null"):
        options = (*BOWL, "hydra.sweeper.n_trials=3", f"hydra.sweeper.seed={seed}", "hydra.sweeper.default_trial=false")
        first = trials_of(hydra_sweep_runner, tmp_path / seed, bowl, *options)[0]
        found.append(tuple(first.params.values()))
    assert len(set(found)) == 3


# -- trials that fail ------------------------------------------------------------


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_failed_trials_are_made_up_for(hydra_sweep_runner, tmp_path):
    calls = []

    def task(cfg):
        calls.append(cfg.bar)
        if len(calls) in (2, 5, 6):
            raise ValueError("out of luck")
        return math.nan if len(calls) == 3 else bowl(cfg)

    trials = trials_of(
        hydra_sweep_runner, tmp_path, task, *BOWL, "hydra.sweeper.n_trials=8", "hydra.sweeper.max_failed=1"
    )
    assert [trial.state.name for trial in trials if trial.state.name == "FAIL"] == ["FAIL"] * 4
    assert len(trials) == 12
    assert trials[1].user_attrs["reason"] == "out of luck"
    assert "returned nan" in trials[2].user_attrs["reason"]


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_search_most_of_whose_trials_fail_ends(hydra_sweep_runner, tmp_path):
    calls = []

    def task(cfg):
        calls.append(cfg.bar)
        if len(calls) != 2:
            raise ValueError("out of luck")
        return bowl(cfg)

    with pytest.raises(UserError, match=r"4 of 5 trials have failed.*max_failed=1"):
        trials_of(hydra_sweep_runner, tmp_path, task, *BOWL)
    assert len(calls) == 5


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_task_that_returns_nothing_is_told_so(hydra_sweep_runner, tmp_path):
    with pytest.raises(UserError, match="4 of 4 trials"):
        trials_of(hydra_sweep_runner, tmp_path, lambda cfg: None, *BOWL)
    assert study_in(tmp_path).trials[0].user_attrs["reason"] == "The trial returned None, where a number should be."


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_the_time_limit(hydra_sweep_runner, tmp_path):
    import time

    def task(cfg):
        time.sleep(0.15)
        return bowl(cfg)

    options = ("hydra.sweeper.n_trials=500", "hydra.sweeper.timeout_s=0.1")
    assert len(trials_of(hydra_sweep_runner, tmp_path, task, *BOWL, *options)) == 1


# -- launchers that run elsewhere ---------------------------------------------------


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_launcher_gets_batches(hydra_sweep_runner, tmp_path, monkeypatch):
    def fails_at_odd(cfg):  # of its own: it travels to other processes
        if cfg.foo % 2:
            raise ValueError("odd")
        return cfg.foo**2 + cfg.bar

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path]))
    launcher = ("hydra/launcher=sagemaker", "hydra.launcher.executor=process_executor.ProcessExecutor")
    options = (*launcher, "hydra.launcher.poll_s=0.1", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    trials = trials_of(hydra_sweep_runner, tmp_path, fails_at_odd, *BOWL, *options, "hydra.sweeper.max_failed=1")
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 4
    for trial in trials:
        is_odd = trial.params["foo"] % 2
        assert trial.state.name == ("FAIL" if is_odd else "COMPLETE")
        assert trial.user_attrs.get("reason") == ("odd" if is_odd else None)
