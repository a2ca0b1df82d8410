"""What the README shows is what happens: every command and every script in it runs.

The quick tests add overrides that make training short; the slow one runs the
commands as they stand. Downloads are left out, but their configurations composed.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from helpers import make_tree, save_picture
from safetensors.torch import save_file

from dogbreed.sweeps.record import write_sweep

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if line.startswith(("python -m dogbreed.", "python -m launch.train"))
]
SCRIPTS = {
    re.search(r"(ImageDataModule|fit_run|polyvore)", block)[1]: block for kind, block in BLOCKS if kind == "python"
}
SHORT = ("trainer=debug", "data.batch_size=4", "data.num_workers=0", "model.input_size_px=32", "report=false")


@pytest.fixture(scope="module")
def desk(tmp_path_factory, finished_run):
    """A folder as the README supposes it: photos, weights, a finished run, Polyvore's layout."""
    desk = tmp_path_factory.mktemp("desk")
    make_tree(desk / "photos", {"train": 8, "valid": 3, "test": 4})
    save_picture(desk / "photo.jpg", (200, 40, 40), 77)
    save_file(timm.create_model("mobilenetv2_100").state_dict(), desk / "mobilenetv2.safetensors")
    for name in ("NAME", "OTHER"):
        shutil.copytree(finished_run.run_dir, desk / "runs" / name)
    make_polyvore(desk / "polyvore_outfits")
    make_sweep(desk / "runs" / "sweep_NAME", finished_run.run_dir)
    return desk


def make_sweep(folder, run):
    shutil.copytree(run, folder / "0")
    (folder / "0" / ".hydra").mkdir(exist_ok=True)
    (folder / "0" / ".hydra" / "overrides.yaml").write_text("- optim.lr=0.001\n- data=folder\n- data.root=photos\n")
    more = {"search_space": ["optim.lr=0.001,0.1", "data=folder", "data.root=photos"], "modes": ["max"]}
    write_sweep(folder, engine="basic", objectives=["val/acc_top1"], state="completed", **more)


def make_polyvore(root):
    metadata = {}
    for number, split in enumerate(("train", "valid", "test")):
        outfits = []
        for outfit in range(4):
            names = [f"{number}{outfit}{part}" for part in range(2)]
            for part, name in enumerate(names):
                metadata[name] = {"semantic_category": ("tops", "shoes")[part]}
                save_picture(root / "images" / f"{name}.jpg", (250 * part, 9, 9), int(name))
            outfits.append({"set_id": str(outfit), "items": [{"item_id": name, "index": 1} for name in names]})
        (root / "disjoint").mkdir(exist_ok=True)
        (root / "disjoint" / f"{split}.json").write_text(json.dumps(outfits))
    (root / "polyvore_item_metadata.json").write_text(json.dumps(metadata))


def test_there_is_something_to_run():
    assert {words[2] for words in COMMANDS} == {
        *(f"dogbreed.{name}" for name in ("train", "evaluate", "predict", "report", "pack", "serve", "export")),
        "launch.train",
    }
    assert len(COMMANDS) >= 8
    assert set(SCRIPTS) == {"ImageDataModule", "fit_run", "polyvore"}


# Each takes long, and shows nothing that another test does not: two processes on the CPU, sweeps, large networks.
SLOW = [
    words
    for words in COMMANDS
    if "trainer.devices=2" in words
    or {"model=resnet50", "model=mobilenetv3_large"} & set(words)
    or "hydra/launcher=sagemaker" in words
    or "model=resnet18,mobilenetv3_small" in words
]


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=pytest.mark.slow, id=" ".join(words)) if words in SLOW else words for words in COMMANDS],
    ids=" ".join,
)
def test_command(words, desk, cli):
    command, arguments = words[2].removeprefix("dogbreed."), words[3:]
    if command == "launch.train":  # tests/launch ships
        arguments += ["launch.dry_run=true"]
    elif command == "serve":  # tests/serving/web serves; here it would never end
        arguments += ["--help"]
    elif any(word.startswith("launch=") for word in arguments):
        arguments = [word for word in arguments if not re.match("launch=|hydra/launcher=", word)]
    if "data=manifest" in arguments:
        subprocess.run([sys.executable, "-c", SCRIPTS["polyvore"]], cwd=desk, check=True)
    if command == "pack":
        shutil.rmtree(desk / "packed", ignore_errors=True)
    elif "data=streaming" in arguments and not (desk / "packed").exists():  # tests run in any order
        assert cli("pack", "photos", "packed", cwd=desk).code == 0
    if command == "train" and "--help" not in arguments:
        text = " ".join(arguments)
        if not re.search(r"data=(folder|manifest|streaming)", text):
            # Of the sample only its drawing is spared: the pictures are others.
            arguments = [word for word in arguments if word != "data=dogimages"] + ["data.root=photos"]
        if "sweep=head" in arguments:
            arguments += ["model.weights=mobilenetv2.safetensors", "hydra.sweeper.n_trials=2"]
        elif "weights" not in text:
            arguments += ["model.pretrained=false"]
        arguments = [*arguments, *SHORT]
    answer = cli(command, *arguments, cwd=desk)
    assert answer.code == 0, answer.err
    assert answer.out


def test_the_named_data_sets_compose(cli):
    for name in set(re.findall(r"data=(\w+)", README)) - {"folder", "manifest", "streaming"}:
        assert cli("train", f"data={name}", "--cfg", "job").code == 0


def run_script(name, desk, replacements):
    script = SCRIPTS[name]
    for old, new in replacements.items():
        assert script.count(old) == 1, old
        script = script.replace(old, new)
    done = subprocess.run([sys.executable, "-c", script], cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_with_a_trainer_of_ones_own(desk):
    small = ", input_size_px=32, pretrained=False"
    out = run_script(
        "ImageDataModule",
        desk,
        {
            'preprocessing="resnet18"': "preprocessing=Preprocessing.of('resnet18', 32)",
            "batch_size=32": "batch_size=8",
            "load_model, save_model": "Preprocessing, load_model, save_model",
            'finetune="head"': f'finetune="full"{small}',
            "max_epochs=5": "max_epochs=1, logger=False, enable_checkpointing=False",
        },
    )
    assert "Prediction(labels=(" in out
    assert len(SCRIPTS["ImageDataModule"].strip().splitlines()) <= 15


def test_the_script_with_the_whole_run(desk):
    more = ", ".join(f'"{word}"' for word in (*SHORT, "model.pretrained=false"))
    out = run_script("fit_run", desk, {'"data.root=photos"': f'"data.root=photos", {more}'})
    assert re.search(r"^[01]\.?\d* runs/mine/model$", out, flags=re.M)


@pytest.mark.slow
def test_the_sample_as_it_stands(cli, tmp_path):
    """Nothing is made shorter: a small network from scratch passes 90 %."""
    answer = cli("train")
    assert answer.code == 0, answer.err
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert json.loads((run_dir / "metrics.json").read_text())["test/acc_top1"] > 0.9
    assert "built-in cartoon dogs" in answer.out


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_sweep_as_it_stands(cli, tmp_path):
    words = next(words for words in COMMANDS if "-m" in words[3:])
    assert cli("train", *words[3:]).code == 0
    (sweep_dir,) = (tmp_path / "runs").iterdir()
    sweep = json.loads((sweep_dir / "sweep.json").read_text())
    assert [trial["state"] for trial in sweep["trials"]] == ["completed"] * 4
