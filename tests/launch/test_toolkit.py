"""Amazon's real training toolkit in its side environment: what it is given, what it does, how it is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import children
import pytest
import timm
import torch
from helpers import QUICK
from rank_runs import assert_same_run
from safetensors.torch import save_file
from toolkit_jobs import make_wheel, request_of, toolkit, write_bundle

from dogbreed import UserError, compose, fit_run
from launch.container.deliver import MAX_FAILURE_CHARS
from launch.toolkit.environment import pip_settings, toolkit_python
from launch.toolkit.layout import lay_out
from launch.toolkit.process import free_port, start
from launch.toolkit.side_environment import packages_of, python_of, side_environment


@pytest.fixture
def jobs():
    """Start jobs, and leave none of them running."""
    started = []

    def begin(base, request, **more):
        started.append(start(base, request, toolkit(), **more))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


def run_out(process):
    """Read a job's lines to the end; return them and its exit code."""
    lines = list(process.lines())
    return lines, process.wait(60)


# -- the folder --------------------------------------------------------------


def test_what_a_machine_is_given(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "w.safetensors").write_text("w")
    hook = {"S3OutputPath": "s3://b/debug", "LocalPath": "/opt/ml/output/mine"}
    request = request_of(["a=1"], "x", channels=("data", "weights"), count=2, DebugHookConfig=hook)
    channels = {"data": tmp_path / "photos", "weights": tmp_path / "w.safetensors"}
    base = tmp_path / "ml"
    lay_out(request, base, channels=channels, host_index=1, num_gpus=3)

    def read(name):
        return json.loads((base / "input" / "config" / f"{name}.json").read_text())

    assert read("hyperparameters") == request["HyperParameters"]
    assert read("resourceconfig")["current_host"] == "algo-2"
    assert read("resourceconfig")["hosts"] == ["algo-1", "algo-2"]
    assert read("inputdataconfig")["data"]["TrainingInputMode"] == "File"
    assert read("debughookconfig")["LocalPath"] == str(base / "output" / "mine")
    assert (base / "input" / "data" / "data").resolve() == tmp_path / "photos"
    assert (base / "input" / "data" / "weights" / "w.safetensors").read_text() == "w"
    assert all((base / name).is_dir() for name in ("model", "output/data", "checkpoints"))
    said = subprocess.run([base / "machine" / "bin" / "nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    assert said.stdout.count("GPU ") == 3
    lay_out(request, base, channels=channels)  # once more: it is the same
    assert read("resourceconfig")["current_host"] == "algo-1"

    with pytest.raises(UserError, match="channel weights, and there are no files for it"):
        lay_out(request, tmp_path / "other", channels={"data": tmp_path / "photos"})
    with pytest.raises(UserError, match="nowhere is not there, which channel data is to show"):
        lay_out(request, tmp_path / "third", channels={**channels, "data": tmp_path / "nowhere"})


# -- the side environment ----------------------------------------------------


def test_without_a_network_the_toolkit_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    said = []
    with pytest.raises(UserError, match=r"^pip cannot get .*==.* \(.*\): see that this machine reaches its package"):
        toolkit_python(said.append, tmp_path / "toolkit")
    assert "fetched, once" in said[0]
    assert not [path for path in (tmp_path / "toolkit").iterdir() if path.is_dir()]


def test_two_who_ask_at_once(tmp_path):
    made, found = [], []

    def finish(packages):
        made.append(packages)
        time.sleep(0.2)

    def ask():
        found.append(side_environment(tmp_path, [], finish=finish))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found[0] == found[1]
    done = subprocess.run([python_of(found[0]), "-c", "import numpy; print(numpy.__file__)"], capture_output=True)
    assert str(Path(sys.prefix)) in done.stdout.decode(), done.stderr


def test_one_who_is_interrupted_leaves_nothing(tmp_path):
    def finish(packages):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_environment(tmp_path, [], finish=finish)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_pip_need_not_search(tmp_path):
    assert pip_settings(write_bundle(tmp_path / "a.tar.gz")) == {"PIP_NO_DEPS": "1"}
    assert pip_settings(write_bundle(tmp_path / "b.tar.gz", requirements=())) == {}
    other = write_bundle(tmp_path / "c.tar.gz", requirements=(), more=[("requirements.txt", "timm==0.0.1\n")])
    assert pip_settings(other) == {}


# -- the process -------------------------------------------------------------

TRIED = """
import json, os, sys
sys.stdout.reconfigure(line_buffering=True, write_through=False)
print("args", json.dumps(sys.argv[1:]))
print("hps", os.environ["SM_HPS"])
print("places", os.environ["SM_CHANNEL_DATA"], os.environ["SAGEMAKER_BASE_DIR"], os.environ["MINE"])
from importlib.util import find_spec
print("modules", [name for name in ("dogbreed", "helpers", "launch", "torch") if find_spec(name)])
import brought
print("brought", brought.__file__)
sys.stderr.write("ValueError: what the log says\\n")
sys.exit(3)
"""


@pytest.mark.slow
def test_a_job_of_its_own(jobs, tmp_path):
    """Its requirements go into its own environment; how it ends is told."""
    wheel = make_wheel(tmp_path / "wheels", "brought", "1")
    more = [("sm_entry.py", TRIED), ("requirements.txt", f"{wheel}\n")]
    bundle = write_bundle(tmp_path / "code.tar.gz", requirements=(), more=more)
    request = request_of(["data.root=${oc.env:SM_CHANNEL_DATA}", "x=1"], bundle, Environment={"MINE": "/opt/ml/yes"})
    base = tmp_path / "ml"
    lay_out(request, base, channels={"data": tmp_path})
    process = jobs(base, request)
    lines, code = run_out(process)
    said = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    assert code == 1, "\n".join(lines)
    assert "--data.root" in json.loads(said["args"])
    assert json.loads(said["hps"])["data.root"] == {"base64": "JHtvYy5lbnY6U01fQ0hBTk5FTF9EQVRBfQ=="}
    assert said["places"] == f"{base}/input/data/data {base} {base}/yes"
    assert said["modules"] == "['dogbreed', 'launch', 'torch']"  # of the bundle, and of ours torch
    assert Path(said["brought"]).is_relative_to(base / "machine")
    assert not list(packages_of(Path(sys.prefix)).glob("brought*"))
    assert not list(packages_of(toolkit().parents[1]).glob("brought*"))
    assert "ExitCode 3" in process.failure
    assert len(process.failure) <= MAX_FAILURE_CHARS


# -- slow: whole runs --------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "sourcedir.tar.gz")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(7)
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), file)
    return file


PLACES = ["data.root=${oc.env:SM_CHANNEL_DATA}", "model.weights=${oc.env:SM_CHANNEL_WEIGHTS}/tiny.safetensors"]
RECIPE = [
    *QUICK,
    "data=folder",
    "finetune=head_then_full",
    "finetune.batchnorm=train",
    "model.dropout=0.3",
    "trainer.accumulate_grad_batches=2",
    "data.batch_size=4",
    "trainer.max_epochs=8",
    "checkpoint_every_s=0",
    "augment.mix.probability=0.5",
    "ema=default",
    "report=true",
]


def begin(jobs, base, request, channels, bundle, **more):
    lay_out(request, base, channels=channels, **more.pop("machine", {}))
    return jobs(base, request, environment=pip_settings(bundle), **more)


def bring_home(base):
    """Put what SageMaker keeps apart, the run folder and its checkpoints, together again."""
    run = base / "output" / "data" / "run"
    shutil.copytree(base / "checkpoints", run / "checkpoints")
    last = run / "checkpoints" / "last.ckpt"
    (run / "checkpoints" / "finished.ckpt").rename(last)
    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_that_is_taken_away(jobs, bundle, tree, weights, tmp_path):
    """Killed half-way, with nothing but its checkpoints left, it ends as the run that nothing disturbs."""
    here = [*RECIPE, f"data.root='{tree}'", f"model.weights='{weights}'"]
    assert children.run(here, tmp_path / "here") == 0
    request = request_of([*RECIPE, *PLACES], bundle, channels=("data", "weights"))
    channels = {"data": tree, "weights": weights}
    process = begin(jobs, tmp_path / "first", request, channels, bundle)
    for line in process.lines():
        if line.startswith("[metrics] epoch=3 "):
            time.sleep(0.2)  # somewhere in the next epoch
            process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "first" / "output" / "failure").exists()

    (tmp_path / "second").mkdir()
    shutil.copytree(tmp_path / "first" / "checkpoints", tmp_path / "second" / "checkpoints")
    shutil.rmtree(tmp_path / "first")
    lines, code = run_out(begin(jobs, tmp_path / "second", request, channels, bundle))
    assert code == 0, "\n".join(lines)
    assert any(line.startswith("resume  ") for line in lines)
    epochs = [line.split()[1] for line in lines if line.startswith("[metrics] ")]
    assert epochs[-1] == "epoch=8"
    assert len(epochs) <= 6
    assert children.outcome(bring_home(tmp_path / "second")) == children.outcome(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_machines(jobs, bundle, tmp_path, weights):
    """Two toolkits, whose torchruns find each other as on two machines, come to what one process comes to."""
    from helpers import make_tree

    tree = make_tree(tmp_path / "odd", {"train": 8, "valid": 3, "test": 5})
    words = [*QUICK, "data=folder", "model.dropout=0", "finetune=head"]
    one = fit_run(compose([*words, f"data.root='{tree}'", f"model.weights='{weights}'"]), tmp_path / "one")
    request = request_of([*words, *PLACES], bundle, channels=("data", "weights"), count=2, torchrun=True)
    port = free_port()
    channels = {"data": tree, "weights": weights}
    bases = [tmp_path / f"host{index}" for index in range(2)]
    processes = [
        begin(jobs, base, request, channels, bundle, machine={"host_index": index}, master_port=port)
        for index, base in enumerate(bases)
    ]
    second = []
    reader = threading.Thread(target=lambda: second.extend(processes[1].lines()))
    reader.start()
    lines, code = run_out(processes[0])
    reader.join(60)
    assert (code, processes[1].wait(60)) == (0, 0), "\n".join([*lines, *second])
    assert any("--nnodes 2 --nproc_per_node 1 --master_addr algo-1 --master_port 7777" in line for line in lines)
    assert_same_run(one.run_dir, bring_home(bases[0]))
    assert sum(line.startswith("[result] ") for line in lines) == 1
    assert not any(line.startswith(("[result] ", "[metrics] ")) for line in second)
    assert not list((bases[1] / "output" / "data").iterdir())
    assert not list((bases[1] / "model").iterdir())
    assert (bases[0] / "model" / "model.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_of_one_machine_that_fail(jobs, bundle, tree, tmp_path):
    """What one of torchrun's processes fails with is the job's reason, not torchrun's report of it."""
    words = [*QUICK, "data=folder", PLACES[0], "optim.lr=-1"]
    request = request_of(words, bundle, torchrun=True)
    process = begin(jobs, tmp_path / "ml", request, {"data": tree}, bundle, machine={"num_gpus": 2})
    lines, code = run_out(process)
    assert code == 1
    assert process.failure.startswith("optim.lr=-1 must be"), "\n".join(lines)
    assert "\n" not in process.failure
    assert any("--nnodes 1 --nproc_per_node 2 " in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_that_reaches_no_registry(jobs, tree, tmp_path):
    """Libraries travel as wheels; there is no requirements.txt that the toolkit would ask a registry for."""
    make_wheel(tmp_path / "wheels", "travelled", "1")
    entry = "from launch.container.prepare import prepare\nfrom launch.container.job import Job\nimport os\n"
    entry += "prepare(Job.of(os.environ))\nimport travelled, sys\nsys.stdout.write(f'from {travelled.__file__}\\n')\n"
    entry += "from launch.container.entry import main\nmain()\n"
    bundle = write_bundle(tmp_path / "code.tar.gz", requirements=(), more=[("sm_entry.py", entry)])
    words = [*QUICK, "data=folder", PLACES[0], "trainer.max_epochs=1"]
    request = request_of(words, bundle, channels=("data", "wheels"), EnableNetworkIsolation=True)
    lay_out(request, tmp_path / "ml", channels={"data": tree, "wheels": tmp_path / "wheels"})
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    lines, code = run_out(jobs(tmp_path / "ml", request, environment=offline))
    assert code == 0, "\n".join(lines)
    assert f"from {packages_of(tmp_path / 'ml' / 'machine' / 'python')}/travelled.py" in lines
