"""The launcher as Hydra sees it: found, conforming, with failures that are rows, limits that hold."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

TESTS = Path(__file__).resolve().parents[1]
PROCESSES = "hydra.launcher.executor=process_executor.ProcessExecutor"


@pytest.fixture(autouse=True)
def _paths(monkeypatch):
    """Have scripts find what the tests find."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))


pytestmark = pytest.mark.usefixtures("_root_logger")


# -- what Hydra asks of every launcher ----------------------------------------


def test_it_is_found():
    found = [plugin for plugin in Plugins.instance().discover(Launcher) if plugin.__name__ == "SageMakerLauncher"]
    assert len(found) == 1
    assert found[0].__module__ == "hydra_plugins.dogbreed_sagemaker.launcher"


def test_being_found_costs_next_to_nothing():
    """Hydra imports every plugin at every start: this one must draw in nothing that is not there already."""
    code = (
        "import sys, hydra.core.config_store, hydra.plugins.launcher; before = set(sys.modules)\n"
        "import hydra_plugins.dogbreed_sagemaker.launcher; print(*sorted(set(sys.modules) - before))"
    )
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert all(name.startswith("hydra_plugins") for name in new), new


@pytest.mark.usefixtures("_as_hydra_was")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("sagemaker", [PROCESSES])])
class TestConformance(LauncherTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("_as_hydra_was")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("sagemaker", [PROCESSES, "hydra.sweeper.max_batch_size=2"])])
class TestConformanceInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=sagemaker", PROCESSES])])
class TestIntegration(IntegrationTestSuite):
    pass


# -- jobs that fail, hang, or are too many --------------------------------------


def sweep_of(hydra_sweep_runner, tmp_path, task, *overrides):
    return hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose",
        overrides=["hydra/launcher=sagemaker", PROCESSES, *overrides],
        temp_dir=tmp_path / "sweep",
    )


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_what_fails_is_a_failed_result_and_the_others_go_on(hydra_sweep_runner, tmp_path):
    def ends_badly(cfg):
        if cfg.a == 1:
            raise ValueError("out of luck")
        if cfg.a == 2:
            os._exit(7)
        return [float(cfg.a), 0.5]

    with sweep_of(hydra_sweep_runner, tmp_path, ends_badly, "+a=0,1,2,3", "+objective=[x,y]") as sweep:
        returns = sweep.returns[0]
        good, bad = JobStatus.COMPLETED, JobStatus.FAILED
        assert [one.status for one in returns] == [good, bad, bad, good]
        assert [one.return_value for one in returns if one.status == good] == [[0.0, 0.5], [3.0, 0.5]]
        for one in returns[1:3]:
            assert [math.isnan(value) for value in one.return_value] == [True, True]
        assert [str(one.error) for one in returns[1:3]] == ["out of luck", "The process has ended with code 7."]
        states = [json.loads((tmp_path / "sweep" / str(n) / "run.json").read_text()) for n in range(4)]
        assert [state["state"] for state in states] == ["completed", "failed", "failed", "completed"]
        assert all(state["seconds"] > 0 for state in states)


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_what_has_no_result_in_time_is_stopped(hydra_sweep_runner, tmp_path):
    def hangs(cfg):
        time.sleep(600)

    with sweep_of(hydra_sweep_runner, tmp_path, hangs, "+a=0,1", "hydra.launcher.timeout_s=0.5") as sweep:
        for one in sweep.returns[0]:
            assert one.status == JobStatus.FAILED
            assert math.isnan(one.return_value)
            assert str(one.error) == "No result after 0.5 s, so it was stopped: raise launch.timeout_s."
        state = json.loads((tmp_path / "sweep" / "1" / "run.json").read_text())
        assert (state["state"], state["error"]) == ("failed", str(one.error))


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize("most", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_no_more_at_a_time_than_are_allowed(hydra_sweep_runner, tmp_path, monkeypatch, most):
    def slow_task(cfg):
        time.sleep(0.3)

    times = tmp_path / "times"
    monkeypatch.setenv("JOB_TIMES", str(times))
    count = 2 if most == 1 else 5
    overrides = [f"+a=range({count})", f"hydra.launcher.max_concurrent={most}"]
    with sweep_of(hydra_sweep_runner, tmp_path, slow_task, *overrides) as sweep:
        assert len(sweep.returns[0]) == count
    lines = sorted((line.split() for line in times.read_text().splitlines()), key=lambda line: float(line[2]))
    running, peak = 0, 0
    for word, *_ in lines:
        running += 1 if word == "BEGIN" else -1
        peak = max(peak, running)
    assert len(lines) == 2 * count
    assert 1 <= peak <= most


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("max_concurrent=0", r"hydra\.launcher\.max_concurrent=0 must be at least 1"),
        ("timeout_s=0", r"hydra\.launcher\.timeout_s=0\.0 must be above 0"),
        ("poll_s=-1", r"hydra\.launcher\.poll_s=-1\.0 must be above 0"),
        ("executor=nothing.at.All", r"hydra\.launcher\.executor=nothing\.at\.All names no class"),
        ("max_concurrent=many", r"many"),
    ],
)
def test_settings_out_of_range(hydra_sweep_runner, tmp_path, override, match):
    with pytest.raises(Exception, match=match):
        sweep_of(hydra_sweep_runner, tmp_path, None, "+a=1", f"hydra.launcher.{override}").__enter__()
    assert not (tmp_path / "sweep" / "0").exists()


# -- Ctrl-C ---------------------------------------------------------------------


@pytest.mark.slow
def test_ctrl_c_stops_what_runs_begins_nothing_more_and_ends_with_130(tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        "import time\nfrom dogbreed.command import run_hydra_command\n"
        "def task(cfg):\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    run_hydra_command('train', task)\n"
    )
    words = [sys.executable, script, "-m", "hydra/launcher=sagemaker", PROCESSES, "seed=1,2,3"]
    words += ["hydra.launcher.max_concurrent=2", "hydra.sweep.dir=s", "report=false"]
    times = tmp_path / "times"
    sweep = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "JOB_TIMES": str(times)})  # fmt: skip
    deadline = time.monotonic() + 60
    while not times.exists() or times.read_text().count("BEGIN") < 2:
        assert time.monotonic() < deadline
        assert sweep.poll() is None, sweep.stderr.read()
        time.sleep(0.05)
    sweep.send_signal(signal.SIGINT)
    _, err = sweep.communicate(timeout=30)
    assert sweep.returncode == 130, err
    assert re.search(r"Interrupted\. Stopped: #0, #1\.", err)
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [(trial["number"], trial["state"], trial["error"]) for trial in record["trials"]] == [
        (0, "failed", "Stopped."), (1, "failed", "Stopped.")
    ]  # fmt: skip
    assert "END" not in times.read_text()
