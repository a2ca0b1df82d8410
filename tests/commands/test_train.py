"""`python -m dogbreed.train` as people type it, rightly and wrongly."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import QUICK, TINY, make_tree, save_picture
from safetensors.torch import save_file

from dogbreed.config import group_options


def test_help_lists_every_option_of_every_group(cli):
    answer = cli("train", "--help")
    assert answer.code == 0
    for group, options in group_options().items():
        if group == "launch":  # ships a run to another machine
            assert not re.search(r"^ *launch ", answer.out, flags=re.M)
            continue
        line = re.search(rf"^ *{group} +(.*)$", answer.out, flags=re.M)
        assert line, group
        assert line[1].split(", ") == options
    assert "_base" not in answer.out


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["launch=a10g"], r"^Error: launch=a10g ships the run .* python -m launch.train … launch=a10g"),
        (["-m", "launch=local", "seed=1,2"], r"launch=local ships the run .* leave launch out"),
    ],
)
def test_what_is_meant_for_another_machine_is_not_trained_here(cli, more, match):
    answer = cli("train", *more, *QUICK)
    assert answer.code == 2
    assert re.search(match, answer.err, flags=re.M), answer.err


def test_a_folder_of_pictures(cli, tree, tmp_path):
    answer = cli("train", *QUICK, "data=folder", f"data.root={tree}")
    assert answer.code == 0, answer.err
    run_dir = re.search(r"^results (.*)$", answer.out, flags=re.M)[1]
    (only,) = (tmp_path / "runs").iterdir()
    assert only.samefile(tmp_path / run_dir)
    assert only.name.endswith("_timm_folder")
    # What was decided is said, and the table holds what metrics.json holds.
    assert re.search(r"^auto .*finetune.mode=full", answer.out, flags=re.M)
    metrics = json.loads((only / "metrics.json").read_text())
    row = re.search(r"^test +(\S+)", answer.out, flags=re.M)
    assert float(row[1]) == pytest.approx(metrics["test/acc_top1"], abs=1e-3)
    assert answer.out.count("epoch 1/2") == 1
    assert (only / ".hydra" / "overrides.yaml").is_file()
    assert "epoch 2/2" in (only / "train.log").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "a [b] x=1,y=2 größe {1} 50% $HOME it's",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("two words", "a [b] (c)", "x=1,y=2", "größe {1}", "50% $HOME", "quote's")
        ),
    ],
)
def test_paths_with_odd_names(cli, name, tmp_path):
    root = make_tree(tmp_path / name / "pictures", {"train": 4, "valid": 2})
    run_dir = tmp_path / name / "run"
    quote = '"' if "'" in name else "'"  # hydra's own keys are quoted as Hydra wants it
    options = (*QUICK, "trainer=debug", "data.batch_size=4", f"hydra.run.dir={quote}{run_dir}{quote}")
    answer = cli("train", *options, f"data.root={root}")
    assert answer.code == 0, answer.err
    answer = cli("evaluate", f"run={run_dir}", "split=valid")
    assert answer.code == 0, answer.err
    answer = cli("predict", run_dir, root / "valid", "--json")
    assert len(json.loads(answer.out)) == 6


def test_weights_from_a_file_and_of_another_architecture(cli, tree, tmp_path):
    import timm

    from dogbreed import load_model

    net = timm.create_model("resnet18", num_classes=7)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    small = ("trainer=debug", "data.batch_size=4", "model.input_size_px=32", "data.num_workers=0", "logger=none")
    options = (*small, f"data.root={tree}", f"model.weights={tmp_path / 'w.safetensors'}")
    answer = cli("train", "model=resnet18", "finetune=head", *options, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert re.search("^recipe  head: the last layer trains", answer.out, flags=re.M)
    trained = load_model(tmp_path / "run").net
    assert torch.equal(trained.conv1.weight, net.conv1.weight)  # frozen, and from the file
    answer = cli("train", "model=mobilenetv3_small", *options)
    assert answer.code == 2
    assert re.search(r"w\.safetensors.*mobilenetv3_small.*\d+ (keys|tensors)", answer.err), answer.err


WRONG = [
    (["modle=resnet50"], r"modle does not exist\. Did you mean model\?"),
    (["model=resnet5"], r"Did you mean resnet50"),
    (["model=timm", "model.architecture=resnet_50"], r"resnet_50.*Did you mean resnet50"),
    (["data=folder"], r"give data\.root=DIR"),
    (["data=folder", "data.root=nowhere", "model.pretrained=true"], r"nowhere is not a folder"),
    (["data=manifest", "data.manifest=nowhere.csv", "model.pretrained=true"], r"csv does not exist: give a CSV"),
    (["data=manifest", "data.manifest=/"], r"data\.manifest=/ is a folder: give a CSV"),
    (["trainer.max_epochs=0"], r"trainer\.max_epochs=0 trains nothing"),
    (["model.weights=nowhere.pth"], r"nowhere\.pth does not exist: give a"),
    (["model.weights=/"], r"model\.weights=/ is a folder: give a"),
    (["launch.dryrun=true"], r"launch\.dryrun does not exist\. Did you mean launch\.dry_run"),
    (["launch.dry_run=true"], r"launch\.dry_run needs a choice of launch: add launch=NAME"),
    (["optim.lr=fast"], r"optim\.lr=fast"),
    (["data.num_workers=many"], r"data\.num_workers=many"),
    (["trainer.precision=8"], r"trainer\.precision=8"),
    (["trainer.gradient_clip_val=strong"], r"trainer\.gradient_clip_val=strong"),
    (["seed=first"], r"seed=first"),
    (["callbacks.mine._target_=nowhere.Callback"], r"put \+ before it, \+callbacks\.mine\._target_=VALUE"),
    (["+callbacks.mine._target_=nowhere.Callback"], r"_target_=nowhere\.Callback cannot be built: No module named 'no"),
    (["trainer.strategy=magic"], r"magic"),
    (["optim.betas=[1]"], r"optim\.betas=\[1\] must be a list of 2 numbers"),
    (["optim.betas=[a,b]"], r"optim\.betas=.* must be a list of 2 numbers"),
    (["data.class_names=[0,1]"], r"data\.class_names=\[0, 1\] must be a list of texts"),
    (["objective=[]"], r"objective=\[\] names no metric"),
    (["objective=train/loss"], r"must be a val/ metric"),
    (["logger={mine:{a:1}}"], r"logger"),
    (["experiment=dogs"], r"experiment=dogs does not exist"),
    (["optim.lr=1,2"], r"add -m"),
    (["rubbish"], r"rubbish cannot be read as KEY=VALUE"),
    (["seed=1", "--cfg", "job", "seed=2"], r"^Error: seed=2 stands apart: write all KEY=VALUE together"),
    (["--epochs", "5"], r"^Error: --epochs is no option: values are written KEY=VALUE"),
    (["diagnose.rules.mine._target_=mine.Rule"], r"put \+ before it, \+diagnose\.rules\.mine\._target_=VALUE"),
    (
        ["data=folder", "data.root={tree}/train/red"],
        r"pictures lie directly in .*red, without .*: name the folder above",
    ),
    (["-m", "--cfg", "job"], r"--cfg shows one run's configuration"),
    (["=3"], r"=3 names no key: give KEY=VALUE"),
    (["trainer=cpu", "trainer.devices=99999"], r"trainer\.devices=99999 means so many processes on \d+ cores"),
    (["hydra.run.dir=/proc/nowhere"], r"hydra\.run\.dir"),
]


@pytest.mark.parametrize(("words", "match"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_one_sentence_for_what_the_user_can_mend(cli, words, match, tree):
    data = [] if words[0].startswith("data=") else [f"data.root={tree}"]
    words = [word.replace("{tree}", str(tree)) for word in words]
    answer = cli("train", *TINY, "trainer=debug", "data.batch_size=4", *data, *words)
    assert answer.code == 2, answer.err
    assert re.search(match, answer.err), answer.err
    assert "Traceback" not in answer.err
    assert answer.err.count("\n") == 1, answer.err


def test_a_gpu_where_there_is_none(cli, tree):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    answer = cli("train", *TINY, "trainer=gpu", f"data.root={tree}")
    assert (answer.code, answer.err) == (
        2,
        "Error: trainer.accelerator=gpu, but torch finds no GPU here: use trainer=cpu.\n",
    )


@pytest.mark.parametrize("what", ["empty", "one class", "no pictures"])
def test_folders_that_cannot_be_learned_from(cli, tmp_path, what):
    root = tmp_path / "pictures"
    root.mkdir()
    if what == "one class":
        for number in range(4):
            save_picture(root / "cats" / f"{number}.jpg", (9, 9, 9), number)
    if what == "no pictures":
        (root / "cats").mkdir()
        (root / "cats" / "notes.txt").write_text("none yet")
    answer = cli("train", *QUICK, "data=folder", f"data.root={root}")
    assert answer.code == 2
    assert str(root) in answer.err
    assert answer.err.count("\n") == 1


def test_no_network_and_no_weights(cli, tree, monkeypatch):
    """The sentence comes before any long work, and names the ways out."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    answer = cli("train", "model=resnet18", f"data.root={tree}")
    assert answer.code == 2
    assert re.search(r"model\.weights=FILE.*model\.pretrained=false", answer.err), answer.err
    assert time.monotonic() - started < 20
    assert "classes," not in answer.out


def test_ctrl_c_ends_with_130_and_a_run_that_says_so(tmp_path):
    root = make_tree(tmp_path / "pictures", {"train": 8, "valid": 3})
    options = [*QUICK, "trainer.max_epochs=1000", f"data.root={root}", "hydra.run.dir=run"]
    run = subprocess.Popen([sys.executable, "-m", "dogbreed.train", *options], cwd=tmp_path, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)  # fmt: skip
    for line in run.stdout:
        if line.startswith("epoch    2"):
            break
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert err.endswith("Interrupted. The same command goes on from here.\n")
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    assert not (tmp_path / "run" / "run.lock").exists()
    torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.slow  # tests/fit/test_resume.py kills at chosen moments
def test_a_killed_run_leaves_whole_files_and_a_folder_that_can_be_used_again(tmp_path):
    root = make_tree(tmp_path / "pictures", {"train": 8, "valid": 3})
    options = [*QUICK, "trainer.max_epochs=1000", f"data.root={root}", "hydra.run.dir=run"]
    run = subprocess.Popen([sys.executable, "-m", "dogbreed.train", *options], cwd=tmp_path, stdout=subprocess.PIPE,
                           text=True)  # fmt: skip
    for line in run.stdout:
        if line.startswith("epoch    2"):
            break
    run.kill()
    run.wait()
    assert (tmp_path / "run" / "run.lock").exists()
    for name in ("best", "last"):
        torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)
    options = [*QUICK, f"data.root={root}", "hydra.run.dir=run", "resume=never"]
    again = subprocess.run(
        [sys.executable, "-m", "dogbreed.train", *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "completed"


def test_a_finished_run_stays_as_it_is(cli, tree, tmp_path):
    options = (*QUICK, "trainer=debug", "data.batch_size=4", f"data.root={tree}", "hydra.run.dir=run")
    assert cli("train", *options).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    answer = cli("train", *options, "seed=9")
    assert answer.code == 2
    assert "run holds a finished run: choose another folder (hydra.run.dir=DIR)" in answer.err
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_the_reader_of_a_pipe_may_leave(tmp_path):
    command = f"{sys.executable} -m dogbreed.train --cfg job | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
