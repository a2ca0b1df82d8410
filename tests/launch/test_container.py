"""What runs inside a job, with the toolkit's variables set as the toolkit sets them."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import QUICK, compose_quick, rows_of
from toolkit_jobs import TOP, make_wheel

from dogbreed import UserError, compose, fit_run, load_model
from launch.container.deliver import deliver_model, report_failure
from launch.container.entry import main
from launch.container.job import Job
from launch.container.metric_log import write_line
from launch.overrides import from_hyperparameters, to_hyperparameters
from launch.toolkit.side_environment import make_environment, our_packages

# What a job's metric definition for NAME looks for (the launcher's contract).
METRIC = r"(?:^|\s)NAME=([-+0-9.eE]+|nan|inf)"


def variables_of(base, overrides, **more):
    """Make a job's folder and return the variables that the toolkit would set."""
    for name in ("model", "output/data", "checkpoints", "input/config"):
        (base / name).mkdir(parents=True, exist_ok=True)
    sent = {**to_hyperparameters(overrides), "dogbreed_revision": '"abc"'}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(sent))
    return {
        "SM_INPUT_CONFIG_DIR": str(base / "input" / "config"),
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DATA_DIR": str(base / "output" / "data"),
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_GPUS": "0",
        "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large",
        "SM_NETWORK_INTERFACE_NAME": "eth0",
        **more,
    }


@pytest.fixture
def entry(monkeypatch, capfd):
    """Run the entry script in this process; return its exit code and output."""
    handlers = logging.root.handlers[:]

    def run(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["sm_entry.py", "--model", "resnet18", "--data.root", "base64=x"])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main()
        return exit_info.value.code, capfd.readouterr()

    yield run
    logging.root.handlers = handlers
    teller = logging.getLogger("dogbreed.fit.record")
    teller.handlers = []


WORDS = [*QUICK, "data=folder", "data.root=${oc.env:SM_CHANNEL_DATA}"]


def test_a_job_that_comes_back_after_its_training(entry, tree, tmp_path):
    """Once through; then its machine is taken while the model is uploaded, and only the checkpoints are left."""
    first = variables_of(tmp_path / "ml", WORDS, SM_CHANNELS='["data"]', SM_CHANNEL_DATA=str(tree))
    code, said = entry(first)
    assert code == 0, said.err
    run = tmp_path / "ml" / "output" / "data" / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    last = said.out.splitlines()[-1]
    assert last.startswith("[result] ")
    for name in ("val/acc_top1", "test/acc_top1", "val/loss", "seconds"):
        found = re.findall(METRIC.replace("NAME", re.escape(name)), last)
        assert float(found[0]) == pytest.approx(metrics[name], rel=1e-5)
        lines = [line for line in said.out.splitlines() if line.startswith("[metrics] ")]
        told = [re.findall(METRIC.replace("NAME", re.escape(name)), line) for line in lines]
        assert told == [[row[name]] for row in rows_of(run / "metrics.csv") if name in row] or name.startswith("test/")
    assert (run / ".hydra" / "overrides.yaml").read_text().splitlines()[-1] == "- data.root=${oc.env:SM_CHANNEL_DATA}"
    assert str(tree) in (run / "config.yaml").read_text()
    model = tmp_path / "ml" / "model"
    assert load_model(model).predict([next(tree.glob("test/blue/*"))])[0].labels
    assert {path.suffix for path in model.iterdir()} == {".json", ".yaml", ".jpg", ".safetensors"}
    assert {path.name for path in (tmp_path / "ml" / "checkpoints").iterdir()} == {"best.ckpt", "finished.ckpt"}

    (tmp_path / "new").mkdir()
    shutil.copytree(tmp_path / "ml" / "checkpoints", tmp_path / "new" / "checkpoints")
    code, said = entry(variables_of(tmp_path / "new", WORDS, SM_CHANNEL_DATA=str(tree)))
    assert code == 0, said.err
    assert "trained to the end, not yet measured" in said.out
    again = tmp_path / "new" / "output" / "data" / "run"
    assert (again / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    # What came after the last checkpoint was written took its time in the other job.
    assert [list(row.values())[:3] for row in rows_of(again / "steps.csv")] == [
        list(row.values())[:3] for row in rows_of(run / "steps.csv")
    ]
    theirs = json.loads((again / "metrics.json").read_text())
    assert {k: v for k, v in theirs.items() if "/" in k} == {k: v for k, v in metrics.items() if "/" in k}


def test_a_job_that_fails(entry, tree, tmp_path):
    words = [*WORDS, "data.batch_size=0"]
    code, said = entry(variables_of(tmp_path / "ml", words, SM_CHANNEL_DATA=str(tree)))
    sentence = (tmp_path / "ml" / "output" / "failure").read_text()
    assert code == 2
    assert sentence.startswith("data.batch_size=0 must")
    assert said.err.endswith(f"Error: {sentence}\n")
    assert not list((tmp_path / "ml" / "model").iterdir())


def test_an_override_that_does_not_exist(entry, tree, tmp_path):
    code, _ = entry(variables_of(tmp_path / "ml", [*WORDS, "optim.lrr=1"], SM_CHANNEL_DATA=str(tree)))
    assert code == 2
    assert "Did you mean optim.lr" in (tmp_path / "ml" / "output" / "failure").read_text()


def test_outside_a_job(entry):
    code, said = entry({})
    assert code == 2
    assert "python -m launch.train launch=local" in said.err


# -- what a job is told ------------------------------------------------------


def test_reading_a_job(tmp_path):
    variables = variables_of(
        tmp_path,
        ["model=resnet18"],
        SM_CHANNELS='["data","myWeights"]',
        SM_CHANNEL_DATA="/d",
        SM_CHANNEL_MYWEIGHTS="/w",
        SM_HOSTS='["algo-1","algo-2"]',
        SM_CURRENT_HOST="algo-2",
        SM_NUM_GPUS="4",
    )
    job = Job.of(variables)
    assert job.channels == {"data": Path("/d"), "myWeights": Path("/w")}
    assert (job.hosts, job.host, job.num_gpus) == (("algo-1", "algo-2"), "algo-2", 4)
    assert (job.base, job.checkpoint_dir) == (tmp_path, tmp_path / "checkpoints")
    assert job.failure_file == tmp_path / "output" / "failure"
    assert Job.of({**variables, "SAGEMAKER_BASE_DIR": "/elsewhere"}).checkpoint_dir is None
    assert not job.is_trial


def test_jobs_of_a_tuning_job_have_checkpoints_of_their_own(tmp_path):
    """The API gives all of them one place."""

    def place(*overrides, **more):
        variables = variables_of(tmp_path, list(overrides), **more)
        file = Path(variables["SM_INPUT_CONFIG_DIR"], "hyperparameters.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"_tuning_objective_metric": "val/acc_top1"}))
        return Job.of(variables).checkpoint_dir

    assert place(TRAINING_JOB_NAME="search-001-ab") == tmp_path / "checkpoints" / "search-001-ab"
    nameless = {place(f"seed={seed}", TRAINING_JOB_NAME="") for seed in (1, 1, 2)}
    assert len(nameless) == 2
    assert all(folder.parent == tmp_path / "checkpoints" for folder in nameless)


def test_a_tuning_job_s_child_is_a_trial(tmp_path):
    variables = variables_of(tmp_path, ["model=resnet18"])
    file = tmp_path / "input" / "config" / "hyperparameters.json"
    file.write_text(json.dumps({"model": '"resnet18"', "_tuning_objective_metric": "val/acc_top1"}))
    assert Job.of(variables).is_trial


def test_overrides_go_through_a_shell_unharmed():
    words = ["a=1", "+b.c={x:'it s',y:$HOME}", "data.root=${oc.env:SM_CHANNEL_DATA}", "e=", "f='ä;rm -rf /'", "g='x=y'"]
    sent = to_hyperparameters(words)
    assert from_hyperparameters(sent) == words
    for value in map(json.loads, sent.values()):
        text = value if isinstance(value, str) else ",".join(f"{key}={inner}" for key, inner in value.items())
        said = subprocess.run(f"printf '%s\\n' {text}", shell=True, capture_output=True, text=True).stdout
        assert said.split() == text.split()
    plain = {"optim.lr": "1e-3", "_tuning_objective_metric": "v"}  # as a tuning job sends them
    assert from_hyperparameters(plain) == ["optim.lr=1e-3"]


# -- what it leaves behind ---------------------------------------------------


def test_a_failure_is_one_sentence(tmp_path):
    file = tmp_path / "output" / "failure"
    report_failure(file, UserError("data.root=/x:\n is not there. " + "y" * 3000))
    text = file.read_text()
    assert text.startswith("data.root=/x: is not there. yyy")
    assert len(text) == 1024
    report_failure(file, UserError("the second"))
    assert file.read_text() == text
    file.unlink()
    report_failure(file, KeyError("nothing"))
    assert file.read_text() == "KeyError: 'nothing' (a bug of the code that runs; its traceback is in the log)"


def test_a_model_is_complete_before_it_is_visible(tmp_path, monkeypatch):
    for name in ("model.json", "model.safetensors", "a.txt", "z.txt"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    seen = []
    rename = Path.rename

    def watched(path, target):
        seen.append(path.name)
        assert not (tmp_path / "model" / "model.json").exists()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    deliver_model(tmp_path / "run", tmp_path / "model")
    assert seen[-1] == "model.json"
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(seen)
    assert len(seen) == 4


def test_a_line_of_numbers(capsys):
    write_line("metrics", {"epoch": "3", "val/loss": float("nan"), "lr": 1e-7, "none": None, "empty": ""})
    assert capsys.readouterr().out == "[metrics] epoch=3 val/loss=nan lr=1e-07\n"


def test_what_tells_of_epochs_is_no_part_of_the_run(tree, tmp_path):
    """The configuration of a job's run is the command's: it goes on with checkpoints of the other."""
    from dogbreed.fit.fingerprint import fingerprint_of

    run = fit_run(compose_quick(tree, "trainer.max_epochs=1"), tmp_path / "run").run_dir
    fingerprint = json.loads((run / "run.json").read_text())["fingerprint"]
    os.environ["SM_CHANNEL_DATA"] = str(tree)
    try:
        assert list(fingerprint_of(compose([*WORDS, "trainer.max_epochs=1"]))) == fingerprint
    finally:
        del os.environ["SM_CHANNEL_DATA"]


# -- without a network -------------------------------------------------------


def in_machine(tmp_path, code, channels):
    """Run code in an environment like a container's, which reaches no registry."""
    python = make_environment(tmp_path / "python", [our_packages()])
    variables = variables_of(tmp_path / "ml", [], SM_CHANNELS=json.dumps(list(channels)))
    variables |= {f"SM_CHANNEL_{name.upper()}": str(folder) for name, folder in channels.items()}
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    begin = "import os\nfrom launch.container.job import Job\nfrom launch.container import prepare as p\n"
    begin += "from dogbreed.errors import UserError\njob = Job.of(os.environ)\n"
    environment = os.environ | variables | offline | {"PYTHONPATH": str(TOP)}
    environment.pop("DOGBREED_CACHE", None)
    return subprocess.run([python, "-c", begin + code], env=environment, capture_output=True, text=True)


def test_wheels_and_weights_travel_as_channels(tmp_path):
    make_wheel(tmp_path / "wheels", "travelled", "1.0", needs="absent")
    (tmp_path / "pretrained" / "hub").mkdir(parents=True)
    (tmp_path / "pretrained" / "weights").mkdir()
    (tmp_path / "pretrained" / "weights" / "net.pth").write_text("w")
    code = (
        "p.prepare(job)\np.prepare(job)\nimport travelled\nprint(travelled.__file__)\n"
        "print(os.environ['HF_HUB_CACHE'], os.environ['HF_HUB_OFFLINE'])\nfrom dogbreed.files import user_cache_dir\n"
        "print((user_cache_dir() / 'weights' / 'net.pth').read_text(), user_cache_dir())"
    )
    done = in_machine(tmp_path, code, {"wheels": tmp_path / "wheels", "pretrained": tmp_path / "pretrained"})
    assert done.returncode == 0, done.stderr
    module, hub, cache = done.stdout.splitlines()
    assert Path(module).is_relative_to(tmp_path / "python")
    assert hub == f"{tmp_path / 'pretrained' / 'hub'} 1"
    assert cache == f"w {tmp_path / 'ml' / 'cache'}"


def test_smdebug_comes_without_what_it_asks_for(tmp_path):
    for name, version in (("smdebug", "1.0.34"), ("psutil", "7.2.2")):
        make_wheel(tmp_path / "wheels", name, version, needs="absent")
    code = "p.install_smdebug(job)\nimport smdebug, psutil\nprint(smdebug.VALUE)"
    done = in_machine(tmp_path, code, {"wheels": tmp_path / "wheels"})
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    (tmp_path / "wheels" / "smdebug-1.0.34-py3-none-any.whl").unlink()
    shutil.rmtree(tmp_path / "python")
    shutil.rmtree(tmp_path / "ml")
    code = "try:\n    p.install_smdebug(job)\nexcept UserError as error:\n    print(error)"
    done = in_machine(tmp_path, code, {"wheels": tmp_path / "wheels"})
    assert done.stdout.startswith("diagnose/hook=smdebug: pip cannot install what the job needs (No "), done.stderr


def test_nothing_is_imported_before_libraries_are_there():
    names = "launch.container.entry, launch.container.prepare, launch.container.deliver, dogbreed.command"
    command = [sys.executable, "-S", "-c", f"import {names}"]  # -S: nothing but Python's own library
    done = subprocess.run(command, env={"PYTHONPATH": str(TOP)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
