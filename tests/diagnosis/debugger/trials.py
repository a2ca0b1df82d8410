"""Trainings with the hook, and what is read back of them."""

import pickle

import lightning as L
from helpers import COLORS

from dogbreed import ImageClassifier, ImageDataModule
from dogbreed.diagnosis import Monitor, SmdebugHook, import_smdebug

smd = import_smdebug()
TRAIN, EVAL = smd.modes.TRAIN, smd.modes.EVAL
LOSS = "CrossEntropyLoss_output_0"


def fit(folder, tree, hook, *, callbacks=(), batch_size=8, epochs=2, ckpt_path=None, data=None, trainer=None, **model):
    """Train on 24 pictures, validate on 9; return the classifier."""
    L.seed_everything(0, verbose=False)
    classifier = ImageClassifier(
        "test_resnet", tuple(COLORS), **{"pretrained": False, "input_size_px": 32, "finetune": "full", **model}
    )
    data = ImageDataModule(
        tree, preprocessing=classifier.preprocessing, batch_size=batch_size, cache="none", **(data or {})
    )
    L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[hook, *callbacks, Monitor({}, file=folder / "diagnosis.json")],
        **{"enable_checkpointing": False, **(trainer or {})},
    ).fit(classifier, data, ckpt_path=ckpt_path)
    return classifier


def every_step(**more):
    """Make a hook that saves all of every step."""
    collections = {name: {} for name in ("losses", "weights", "biases", "gradients")}
    return SmdebugHook(save_interval=1, collections=collections | more.pop("collections", {}), **more)


def series(trial, name, mode=TRAIN):
    """Return a tensor's values by the step of its mode."""
    tensor = trial.tensor(name)
    return {step: tensor.value(step, mode=mode) for step in tensor.steps(mode=mode)}


def numbers(trial, name, mode=TRAIN):
    return {step: float(value.item()) for step, value in series(trial, name, mode).items()}


def assert_untouched(classifier):
    """Nothing of the hook is left in the network, nor in what is pickled of it."""
    for module in classifier.modules():
        assert not [*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks]
        assert not hasattr(module, "_module_name")
    assert not any(parameter._backward_hooks for parameter in classifier.parameters())
    assert b"smdebug" not in pickle.dumps(classifier.net)
    assert smd.get_hook() is None
