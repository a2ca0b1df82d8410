"""A job on this machine: the same bundle through the real toolkit comes to the same numbers as the command."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import QUICK, rows_of
from toolkit_jobs import TOP, request_of, toolkit, write_bundle

from dogbreed import UserError, compose, fit_run, load_model
from launch.local import run_locally

WORDS = [*QUICK, "data=folder", "checkpoint_every_s=0"]
HERE = [*WORDS, "data.root=${oc.env:SM_CHANNEL_DATA}"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    toolkit()
    return write_bundle(tmp_path_factory.mktemp("bundle") / "sourcedir.tar.gz")


def numbers(run_dir):
    """Return what two equal runs share: all final metrics, the rows of the epochs, every prediction."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    rows = [{key: value for key, value in row.items() if "/" in key} for row in rows_of(run_dir / "metrics.csv")]
    predictions = (run_dir / "predictions.csv").read_text()
    return {key: value for key, value in metrics.items() if "/" in key}, rows, predictions


@pytest.mark.slow
def test_a_job_here_is_the_run_of_the_command(bundle, tree, tmp_path):
    lines = []
    ours = {path: path.stat().st_mtime_ns for path in Path(sys.prefix).glob("lib/python*/site-packages/*")}
    # A value that no shell may see; paths with spaces.
    words = [*HERE, "+callbacks.note={_target_:lightning.pytorch.callbacks.Timer,duration:'00:12:00:00'}"]
    run_dir = tmp_path / "my runs" / "run"
    run_locally(request_of(words, bundle), bundle, {"data": tree}, run_dir, say=lines.append)
    assert lines[0] == f"local   sourcedir.tar.gz in Amazon's training toolkit on this machine; run folder {run_dir}"

    there = fit_run(compose([*WORDS, f"data.root='{tree}'"]), tmp_path / "there").run_dir
    assert numbers(run_dir) == numbers(there)
    theirs = {str(path.relative_to(there)) for path in there.rglob("*")}
    found = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*")}
    assert found - theirs == {".hydra", ".hydra/overrides.yaml", ".hydra/config.yaml", "train.log"}
    assert theirs <= found
    assert (run_dir / "model" / "model.safetensors").read_bytes() == (there / "model/model.safetensors").read_bytes()
    assert load_model(run_dir / "model").predict([next(tree.glob("test/red/*"))])[0].labels

    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert [line.split()[:2] for line in lines if line.startswith("[metrics] ")] == [
        ["[metrics]", "epoch=1"],
        ["[metrics]", "epoch=2"],
    ]
    result = dict(word.split("=") for word in lines[-1].removeprefix("[result] ").split())
    assert float(result["val/acc_top1"]) == pytest.approx(metrics["val/acc_top1"], abs=1e-5)
    assert f"run     {run_dir}" in lines
    # What pip has installed for the job, if anything, is not in our environment.
    assert ours == {path: path.stat().st_mtime_ns for path in Path(sys.prefix).glob("lib/python*/site-packages/*")}


def test_several_machines(bundle, tmp_path):
    with pytest.raises(UserError, match=r"^launch.instance_count=2 with launch=local: this is one machine"):
        run_locally(request_of(HERE, bundle, count=2), bundle, {}, tmp_path / "run")


@pytest.mark.slow
def test_a_job_that_fails(bundle, tree, tmp_path, capfd):
    request = request_of([*HERE, "optim.lr=-1"], bundle)
    with pytest.raises(UserError, match=r"^optim\.lr=-1 must be"):
        run_locally(request, bundle, {"data": tree}, tmp_path / "run")
    assert "Error: optim.lr=-1" in capfd.readouterr().out
    with pytest.raises(UserError, match=r"does not exist. Did you mean"):
        run_locally(request_of([*HERE, "optim.lrr=1"], bundle), bundle, {"data": tree}, tmp_path / "other")


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_call_goes_on(bundle, tree, tmp_path):
    script = tmp_path / "launch_it.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from toolkit_jobs import request_of\nfrom dogbreed.command import run_command\n"
        "from launch.local import run_locally\n"
        f"words = {[*HERE, 'trainer.max_epochs=40']!r}\n"
        f"bundle = Path({str(bundle)!r})\n"
        f"run_command(lambda: run_locally(request_of(words, bundle), bundle, {{'data': Path({str(tree)!r})}}, "
        f"Path({str(tmp_path / 'run')!r})))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TOP)}
    command = [sys.executable, str(script), str(TOP / "tests")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("[metrics] epoch=3 "):
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, "".join(said)
    assert said[-1] == "Interrupted. The same command goes on from the last checkpoint.\n"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"

    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"resume  {tmp_path / 'run'}, epoch" in again.stdout
    words = [*WORDS, f"data.root='{tree}'", "trainer.max_epochs=40"]
    assert numbers(tmp_path / "run") == numbers(fit_run(compose(words), tmp_path / "there").run_dir)


@pytest.mark.slow
def test_lines_come_while_the_job_runs(bundle, tree, tmp_path):
    times = []

    def say(line):
        if line.startswith("[metrics] "):
            times.append(time.monotonic())

    run_locally(request_of([*HERE, "trainer.max_epochs=20"], bundle), bundle, {"data": tree}, tmp_path / "run", say=say)
    assert len(times) == 20
    assert times[-1] - times[0] > 0.2
    assert threading.active_count() < 20
