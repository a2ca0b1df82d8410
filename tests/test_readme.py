"""What the README shows is what happens: every command and every script in it runs.

The quick tests add overrides that make training short; what is slow runs the
commands as they stand, as `make tour` does with the five minutes. Downloads are
left out, but their configurations composed.
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

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.M | re.S)
TOUR = re.search(r"^## Five minutes\n(.*?)(?=^## )", README, flags=re.M | re.S)[1]
BLOCKS = BLOCK.findall(README.replace(TOUR, ""))
PAGES = [(TOP / "docs" / name).read_text(encoding="utf-8") for name in ("train.md", "data.md")]
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if line.startswith(("python -m dogbreed.", "python -m launch.train"))
]
SCRIPTS = {
    re.search(r"(ImageDataModule|fit_run|polyvore)", block)[1]: block
    for kind, block in [*BLOCKS, *(found for page in PAGES for found in BLOCK.findall(page))]
    if kind == "python"
}
SHORT = ("trainer=debug", "data.batch_size=4", "data.num_workers=0", "model.input_size_px=32", "report=false")


@pytest.fixture(scope="module")
def desk(tmp_path_factory, finished_run):
    """A folder as the README supposes it: photos, weights, a finished run, Polyvore's layout."""
    desk = tmp_path_factory.mktemp("desk")
    make_tree(desk / "photos", {"train": 8, "valid": 3, "test": 4})
    save_picture(desk / "photo.jpg", (200, 40, 40), 77)
    save_file(timm.create_model("mobilenetv2_100").state_dict(), desk / "mobilenetv2.safetensors")
    shutil.copytree(finished_run.run_dir, desk / "runs" / "NAME")
    make_polyvore(desk / "polyvore_outfits")
    return desk


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
        *(f"dogbreed.{name}" for name in ("train", "evaluate", "export")),
    }
    assert len(COMMANDS) >= 6
    assert set(SCRIPTS) == {"ImageDataModule", "fit_run", "polyvore"}


# Each takes long, and shows nothing that another test does not: two processes on the CPU, large networks.
SLOW = [
    words
    for words in COMMANDS
    if "trainer.devices=2" in words or {"model=resnet50", "model=mobilenetv3_large"} & set(words)
]


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=pytest.mark.slow, id=" ".join(words)) if words in SLOW else words for words in COMMANDS],
    ids=" ".join,
)
def test_command(words, desk, cli):
    command, arguments = words[2].removeprefix("dogbreed."), words[3:]
    if command == "train" and "--help" not in arguments:
        text = " ".join(arguments)
        if "data=folder" not in text:
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


def test_the_script_for_polyvore(desk, cli):
    run_script("polyvore", desk, {})
    words = ["data=manifest", "data.manifest=polyvore_outfits/manifest.csv", "model.pretrained=false", *SHORT]
    answer = cli("train", *words, cwd=desk)
    assert answer.code == 0, answer.err
    assert "data    2 classes, 8 train / 8 valid / 8 test pictures" in answer.err + answer.out


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
