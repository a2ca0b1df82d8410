"""Every option composes, resolves, binds to the signature that it names, and is documented by a command that works."""

import importlib
import inspect
import json
import re
import shlex

import pytest
import timm
from helpers import TINY
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from dogbreed import UserError, compose, conf_dir
from dogbreed.config import group_options, resolve
from dogbreed.config.resolve import AUTO_KEYS
from launch.settings import LaunchSettings

# What a machine of Amazon's decides is resolved there: tests/launch/test_settings.py.
OPTIONS = [(group, option) for group, options in group_options().items() for option in options if group != "launch"]
# What has to be given with an option.
NEEDED = {
    ("data", "folder"): ["data.root=/photos"],
    ("data", "manifest"): ["data.manifest=/photos.csv"],
    ("model", "timm"): ["model.architecture=test_resnet"],
    ("trainer", "gpu"): ["trainer.accelerator=cpu"],
    ("data", "streaming"): ["data.root=s3://BUCKET/PREFIX"],
    ("trainer", "gpu_t4"): ["trainer.accelerator=cpu"],
    ("finetune", "head"): ["model.pretrained=true"],
    ("finetune", "head_then_full"): ["model.pretrained=true"],
    ("finetune", "layer_decay"): ["model.pretrained=true"],
    ("finetune", "discriminative"): ["model.pretrained=true"],
    ("sweep", "head"): ["model.pretrained=true"],
}
# Machines for which a request is made; of the others' presets the settings.
SHIPPED = ("cpu", "a10g", "h100_x8_2nodes")
# What the code hands over besides the keys.
GIVEN = {
    "dogbreed.classifier.ImageClassifier": {"class_names", "class_counts", "optim", "finetune", "loss"},
    "dogbreed.datamodule.ImageDataModule": {"augment", "seed"},
    "dogbreed.diagnosis.build_callbacks": {"folder"},
    "dogbreed.fit.early_stopping.EarlyStopping": {"monitor", "mode"},
    "lightning.pytorch.loggers.TensorBoardLogger": {"save_dir"},
}


def target_nodes(node, path=""):
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from target_nodes(node[key], f"{path}.{key}")


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=["=".join(pair) for pair in OPTIONS])
def test_every_option_binds_to_the_signature_that_it_names(group, option):
    cfg, _ = resolve(compose([f"{group}={option}", *NEEDED.get((group, option), ())]))
    nodes = dict(target_nodes(cfg))
    assert {".data", ".model", ".optim", ".finetune", ".augment", ".trainer"} <= nodes.keys()
    for path, node in nodes.items():
        module, _, name = node["_target_"].rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), name))
        keys = {key for key in node if key != "_target_"}
        try:
            signature.bind(**dict.fromkeys(keys | GIVEN.get(node["_target_"], set())))
        except TypeError as error:
            pytest.fail(f"conf{path} does not fit {node['_target_']}: {error}")
    assert not [key for key in AUTO_KEYS if OmegaConf.select(cfg, key) == "auto"]


def yaml_files():
    return sorted(conf_dir().rglob("*.yaml"))


@pytest.mark.parametrize("file", yaml_files(), ids=lambda file: str(file.relative_to(conf_dir())))
def test_every_file_begins_with_its_purpose_and_a_command_that_works(file, cli, tree, tmp_path):
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# "), "the first line must say what the file is for"
    is_hosting = file in (conf_dir() / "deploy.yaml", conf_dir() / "transform.yaml")
    is_tuning = file == conf_dir() / "tune.yaml"
    package = "launch" if is_tuning or is_hosting or file.is_relative_to(conf_dir() / "launch") else "dogbreed"
    command = re.search(rf": (python -m {package}\.\w+ .*)$", lines[0])
    if file.stem.startswith("_") or file.is_relative_to(conf_dir() / "hydra"):
        assert not command, "nobody chooses this file by itself"
        return
    assert command, "the first line must end with a command that uses the file"
    (tmp_path / "m.csv").write_text("path,label\n")
    words = shlex.split(command[1].replace("DIR", str(tree)).replace("FILE.csv", str(tmp_path / "m.csv")))
    if package == "launch" and not is_tuning and not is_hosting:
        LaunchSettings.of(compose(words[3:]))
        if file.stem not in SHIPPED:
            return
    if words[2] == "dogbreed.train":
        assert compose([word for word in words[3:] if word != "-m"])
        return
    words[3:] = [word for word in words[3:] if word != "-m"]  # of a sweep Hydra shows nothing
    show = ["launch.dry_run=true"] if package == "launch" and not is_hosting else ["--cfg", "job"]
    answer = cli(words[2], *words[3:], *show)
    assert answer.code == 0, answer.err
    assert answer.out


def test_no_yaml_says_on_off_yes_or_no():
    for file in yaml_files():
        words = re.findall(r"^[^#\n]*:\s*(on|off|yes|no)\s*$", file.read_text(encoding="utf-8"), flags=re.M | re.I)
        assert not words, f"{file}: YAML and Hydra's command line read {words} differently"


SLOW_EXPERIMENTS = {"resnet50_dogs", "resnet50_grid"}  # half a minute


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW_EXPERIMENTS else name
        for name in group_options()["experiment"]
    ],
)
def test_every_experiment_runs_by_its_line(experiment, tree, tmp_path, cli):
    """As it is typed, without -m: the search that it names does not stand in the way."""
    architecture = compose([f"experiment={experiment}", "data=folder", f"data.root='{tree}'"]).model.architecture
    save_file(timm.create_model(architecture).state_dict(), tmp_path / "w.safetensors")
    small = ["data.batch_size=4", "data.num_workers=0", "model.input_size_px=32", "trainer=debug", "report=false"]
    place = ["data=folder", f"data.root={tree}", f"model.weights={tmp_path / 'w.safetensors'}", "hydra.run.dir=run"]
    answer = cli("train", f"experiment={experiment}", *place, *small)
    assert answer.code == 0, answer.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= metrics["test/acc_top1"] <= 1


# -- auto --------------------------------------------------------------------


def resolved(*overrides):
    return resolve(compose(list(overrides)))[0]


def test_the_sample_trains_from_scratch_and_photographs_do_not():
    sample = resolved()
    assert (sample.model.pretrained, sample.model.input_size_px, sample.finetune.mode) == (False, 56, "full")
    assert (sample.finetune.batchnorm, sample.finetune.backbone_lr_scale) == ("train", 1.0)
    photos = resolved("data=folder", "data.root=/photos")
    assert (photos.model.pretrained, photos.model.input_size_px, photos.finetune.mode) == (True, 224, "full")
    assert (photos.finetune.batchnorm, photos.finetune.backbone_lr_scale) == ("frozen", 0.1)
    # Pictures of one's own are photographs even where data=folder was forgotten.
    assert resolved("data.root=/photos").model.pretrained is True
    assert resolved("model.weights=/w.pth").finetune.batchnorm == "frozen"
    assert resolved("model.pretrained=true").model.input_size_px == 224
    assert resolved("data=folder", "data.root=/p", "model.pretrained=false").model.input_size_px == 224


def test_trials_do_not_see_the_test_split():
    cfg = compose([])
    assert resolve(cfg)[0].test_after_fit is True
    assert resolve(cfg, is_trial=True)[0].test_after_fit is False
    assert resolve(compose(["test_after_fit=true"]), is_trial=True)[0].test_after_fit is True
    assert cfg.test_after_fit == "auto"  # the composed configuration stays as it was


def test_learning_rates():
    photos = ("data=folder", "data.root=/p")
    assert resolved(*photos).optim.lr == pytest.approx(2e-3)
    assert resolved(*photos, "data.batch_size=128").optim.lr == pytest.approx(4e-3)
    assert resolved(*photos, "optim=sgd", "data.batch_size=128").optim.lr == pytest.approx(0.04)
    assert resolved(*photos, "trainer.accumulate_grad_batches=4").optim.lr == pytest.approx(4e-3)
    assert resolved(*photos, "optim.lr=0.5").optim.lr == 0.5
    assert resolved(*photos, "optim.lr_per_256=0.8").optim.lr == pytest.approx(0.1)
    with pytest.raises(UserError, match=r"optim.lr=0.1 and optim.lr_per_256=0.2 contradict"):
        resolved("optim.lr=0.1", "optim.lr_per_256=0.2")


def test_objectives():
    assert resolved("objective=val/loss").objective_mode == "min"
    assert resolved().objective_mode == "max"
    assert resolved("objective=[val/f1_macro,seconds]").objective_mode == "max"
    for name, match in (("test/acc_top1", "tuning on the test split"), ("val/acc", "Did you mean .*val/acc_top1")):
        with pytest.raises(UserError, match=match):
            resolved(f"objective={name}")
    with pytest.raises(UserError, match="must be a val/ metric"):
        resolved("objective=seconds")


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolved("data=folder", "data.root=photos").data.root == str(tmp_path / "photos")
    assert not resolved("data=folder", "data.root='~/photos'").data.root.startswith("~")


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["data=folder"], r"No pictures are named: give data.root=DIR"),
        (["model=timm"], r"model.architecture must be given"),
        (["trainer.max_epochs=0"], r"trainer.max_epochs=0 trains nothing"),
        (["trainer.max_epochs=1.5"], r"trainer.max_epochs=1.5 must be a whole number"),
        (["trainer.max_steps=0"], r"trainer.max_steps=0 trains nothing"),
        (["finetune=head"], r"finetune=head builds on .* model.pretrained=true or model.weights=FILE"),
        (["model.architecture=resnet5O"], r"Did you mean resnet50"),
        (["data.sampling=balanced", "loss.class_weights=balanced"], r"correct for the same twice"),
        (["objective_mode=most"], r"objective_mode=most is unknown"),
        (["seed=-1"], r"seed=-1 must be between 0 and"),
    ],
)
def test_contradictions_are_one_sentence(overrides, match):
    with pytest.raises(UserError, match=match):
        resolved(*overrides)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=first", "seed=first must be a whole number or null"),
        ("seed=1.5", "seed=1.5 must be a whole number or null"),
        ("objective=5", "objective=5 must be a text or a list"),
        ("data.batch_size=auto", "data.batch_size=auto must be a whole number"),
        ("data.batch_size=true", "data.batch_size=true must be a whole number"),
        ("data.source.num_train=x", "data.source.num_train=x must be a whole number"),
        ("model.architecture=5", "model.architecture=5 must be a text"),
        ("model.channels_last=1", "model.channels_last=1 must be true or false"),
        ("optim.lr=fast", "optim.lr=fast must be a number"),
        ("optim.lr_per_256=x", "optim.lr_per_256=x must be a number or null"),
        ("augment.crop_scale=0.5", "augment.crop_scale=0.5 must be a list"),
        ("trainer.precision=8", "trainer.precision=8 must be one of 64, 32, 16, "),
        ("trainer.gradient_clip_val=[1]", r"trainer.gradient_clip_val=\[1\] must be a number or null"),
    ],
)
def test_a_value_of_the_wrong_kind(override, expected):
    with pytest.raises(UserError, match=f"^{expected}"):
        resolved(override)


def test_a_gpu_where_there_is_none():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="finds no GPU here: use trainer=cpu"):
        resolved("trainer=gpu")


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("model=resnet5", r"model=resnet5 does not exist. Did you mean resnet50.* Valid: mobilenetv2,"),
        ("augment=heavy", r"augment=heavy does not exist. Valid: light, none, standard, strong.$"),
        ("data=dogs", r"data=dogs does not exist. Did you mean .*dogimages"),
        ("modle=resnet50", r"modle does not exist. Did you mean model"),
        ("optim.lrr=1", r"optim.lrr does not exist. Did you mean optim.lr "),
        ("lr=1", r"lr does not exist. Did you mean optim.lr"),
        ("max_epochs=1", r"Did you mean trainer.max_epochs"),
        ("optim.momentum=0.9", r"optim.momentum does not exist with the chosen optim; it does with optim=sgd"),
        ("trainer.max_epoch=3", r"Did you mean trainer.max_epochs"),
        ("finetune=_bases", r"finetune=_bases does not exist"),
        ("nonsense", r"nonsense cannot be read as KEY=VALUE"),
        ("data.root=a b(c", r"cannot be read as KEY=VALUE.*quotes of its own"),
    ],
)
def test_names_that_do_not_exist(override, match):
    with pytest.raises(UserError, match=match):
        compose([override])


def test_compose_twice_and_within_another_hydra_app():
    assert compose(["model=resnet34"]).model.architecture == "resnet34.tv_in1k"
    assert compose(list(TINY)).model.architecture == "test_resnet"
