"""What the `auto` values of a training configuration mean for these data, these weights and this machine."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.config.devices import check_devices, check_passes, local_devices, settle_devices
from dogbreed.config.hardware import auto_precision, auto_workers, keeps_pixels
from dogbreed.config.objectives import check_objectives, objective_mode
from dogbreed.config.trials import ends_lost_trials
from dogbreed.config.types import check_types
from dogbreed.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Peak learning rates that `auto` means, tuned at REFERENCE_BATCH on the sample and on photographs: of
# the head alone, of everything from pretrained weights, and of everything from scratch.
AUTO_LR = {
    "adamw": {"head": 2e-3, "backbone": 2e-3, "scratch": 5e-3},
    "sgd": {"head": 0.01, "backbone": 0.01, "scratch": 0.1},
}
REFERENCE_BATCH = 32

# Keys whose values are files or folders.
PATH_KEYS = ("data.root", "data.manifest", "data.source.folder", "data.cache", "model.weights", "checkpoint_dir")

# Keys that may be `auto`, besides those for which it is Lightning's own word.
AUTO_KEYS = frozenset(
    {
        "model.pretrained",
        "model.input_size_px",
        "finetune.mode",
        "finetune.backbone_lr_scale",
        "finetune.batchnorm",
        "optim.lr",
        "data.num_workers",
        "data.num_views",
        "trainer.precision",
        "test_after_fit",
        "pictures",
        "diagnose.on_issue",
        "objective_mode",
    }
)

# Types of the keys that no signature names.
KEY_TYPES = {
    "seed": int | None,
    "objective": str | list[str],
    "objective_mode": str,
    "test_after_fit": bool,
    "pictures": bool,
    "checkpoint_dir": str | None,
    "checkpoint_every_s": float | None,
    "resume": str,
    "trial.storage": str | None,
    "trial.study": str | None,
    "trial.number": int | None,
    "from_sweep": str | None,
    "optim.lr_per_256": float | None,
}

# More views are more like new ones in every epoch, and each is a pass over the data set (docs/recipes.md).
AUTO_VIEWS = 4

MAX_SEED = 2**32 - 1  # NumPy's


def resolve(cfg: DictConfig, *, is_trial: bool = False) -> tuple[DictConfig, dict[str, Any]]:
    """Replace every ``auto`` by what it means for this data, these weights and this machine.

    Args:
        cfg: A composed training configuration; left as it is.
        is_trial: The run is one of a sweep, which must not see the test split.

    Returns:
        The resolved copy, whose ``_target_`` nodes can be instantiated, and what
        was decided by key.

    Raises:
        UserError: a required key is missing, a value is of the wrong kind, or two keys
            contradict each other.
    """
    from omegaconf import OmegaConf

    cfg = copy.deepcopy(cfg)
    OmegaConf.set_struct(cfg, False)
    OmegaConf.resolve(cfg)
    check_present(cfg)
    check_types(cfg, KEY_TYPES, AUTO_KEYS)
    for key in PATH_KEYS:
        value = OmegaConf.select(cfg, key)
        # The run folder must be readable from other folders, too.
        if value not in (None, "auto", "none") and "://" not in str(value):
            OmegaConf.update(cfg, key, str(Path(value).expanduser().absolute()))
    decided: dict[str, Any] = {}

    def decide(key: str, value: Any) -> None:
        if OmegaConf.select(cfg, key) == "auto":
            OmegaConf.update(cfg, key, value)
            decided[key] = value

    if cfg.data.root is None and cfg.data.manifest is None and cfg.data.source is None:
        msg = "No pictures are named: give data.root=DIR, or data.manifest=FILE.csv."
        raise UserError(msg)
    _decide_beginning(cfg, decide)
    if cfg.model.weights is not None:
        decided.pop("model.pretrained", None)  # which is about the hub's weights, and would read as "from scratch"
    settle_devices(cfg)
    _decide_lr(cfg, decide)
    _decide_views(cfg, decide)
    decide("test_after_fit", not is_trial)
    decide("pictures", not is_trial)
    decide("diagnose.on_issue", "prune" if is_trial and ends_lost_trials(cfg) else "log")
    decide("objective_mode", objective_mode(cfg))
    trains_backbone = cfg.finetune.mode != "head"
    decide("trainer.precision", auto_precision(cfg.trainer.accelerator, trains_backbone=trains_backbone))
    decide(
        "data.num_workers",
        auto_workers(cfg.trainer.accelerator, local_devices(cfg), is_cached=keeps_pixels(cfg.data)),
    )
    _check_values(cfg)
    portions = check_passes(cfg)
    if portions:
        decided["data.micro_batch_size"] = portions
    return cfg, decided


def check_present(cfg: DictConfig) -> None:
    """Refuse a configuration in which a key that must be given was not.

    Raises:
        UserError: names the key and what to add.
    """
    from omegaconf import OmegaConf

    hints = {
        "run": "run=RUN_FOLDER",
        "model.architecture": "model.architecture=NAME, any of timm's",
    }
    for key in sorted(OmegaConf.missing_keys(cfg)):
        msg = f"{key} must be given: add {hints.get(key, f'{key}=VALUE')}."
        raise UserError(msg)


def _decide_beginning(cfg: DictConfig, decide: Callable[[str, Any], None]) -> None:
    """Decide on weights, input size and what trains."""
    from dogbreed.architectures import input_size_px
    from dogbreed.nets.finetune import PRETRAINED_DEFAULTS, SCRATCH_DEFAULTS

    weights_size_px = input_size_px(cfg.model.architecture)
    auto = cfg.data.pop("auto")
    from_source = cfg.data.root is None and cfg.data.manifest is None
    # What a source says of itself does not hold for other pictures that are put in its place.
    suits_pretrained = bool(auto.pretrained) or not from_source
    decide("model.pretrained", suits_pretrained and cfg.model.weights is None)
    from_scratch = not cfg.model.pretrained and cfg.model.weights is None
    scratch_size_px = auto.input_size_px if from_scratch and from_source else None
    decide("model.input_size_px", scratch_size_px or weights_size_px)
    # As good as the head alone on photographs like the weights' own, far better on others (docs/recipes.md).
    decide("finetune.mode", "full")
    if from_scratch and cfg.finetune.mode != "full":
        msg = (
            f"finetune={cfg.finetune.mode} builds on what the backbone has learned, and without pretrained weights "
            "that is nothing: use finetune=full, model.pretrained=true or model.weights=FILE."
        )
        raise UserError(msg)
    for name, value in (SCRATCH_DEFAULTS if from_scratch else PRETRAINED_DEFAULTS).items():
        decide(f"finetune.{name}", value)


def _decide_views(cfg: DictConfig, decide: Callable[[str, Any], None]) -> None:
    """Decide on how many views a frozen backbone sees of each picture."""
    mix = cfg.augment.get("mix") or {}
    is_mixed = bool(mix.get("probability")) and bool(mix.get("mixup_alpha") or mix.get("cutmix_alpha"))
    if cfg.finetune.mode == "head" and not is_mixed:
        keys = ("crop", "flip_probability", "num_distortions", "erase_probability")
        is_varied = any(cfg.augment.get(key) for key in keys)
        epochs = cfg.trainer.max_epochs  # refused below where it is no number
        num_views = min(AUTO_VIEWS, epochs) if isinstance(epochs, int) else AUTO_VIEWS
        decide("data.num_views", num_views if is_varied else 1)
    elif cfg.data.num_views == "auto":
        cfg.data.num_views = 0
    elif cfg.data.num_views:
        msg = (
            f"data.num_views={cfg.data.num_views} keeps what a frozen backbone makes of unmixed pictures: use "
            "finetune=head without mixup and cutmix, or data.num_views=0."
        )
        raise UserError(msg)


def _decide_lr(cfg: DictConfig, decide: Callable[[str, Any], None]) -> None:
    batch = int(cfg.data.batch_size) * int(cfg.trainer.accumulate_grad_batches)
    per_256 = cfg.optim.pop("lr_per_256")
    if per_256 is not None:
        if cfg.optim.lr != "auto":
            msg = f"optim.lr={cfg.optim.lr} and optim.lr_per_256={per_256} contradict each other: give one of them."
            raise UserError(msg)
        decide("optim.lr", float(per_256) * batch / 256)
        return
    lr = auto_lr(cfg)
    if lr is not None:  # else an unknown name or a wrong number: its own check says so
        decide("optim.lr", lr)


def auto_lr(cfg: DictConfig) -> float | None:
    """Return what ``optim.lr=auto`` means for a configuration whose beginning and mode are decided."""
    from_scratch = not cfg.model.pretrained and cfg.model.weights is None
    batch = int(cfg.data.batch_size) * int(cfg.trainer.accumulate_grad_batches)
    if cfg.optim.name not in AUTO_LR or batch < 1:
        return None
    trained = "scratch" if from_scratch else "head" if cfg.finetune.mode == "head" else "backbone"
    base = AUTO_LR[cfg.optim.name][trained]
    # Proportional for SGD (Goyal et al. 2017), by the square root for Adam (Malladi et al. 2022).
    ratio = batch / REFERENCE_BATCH
    return float(f"{base * (ratio if cfg.optim.name == 'sgd' else math.sqrt(ratio)):.3g}")


def _check_values(cfg: DictConfig) -> None:
    """Refuse what no constructor would refuse with a sentence of ours."""
    import torch

    if cfg.seed is not None and not 0 <= cfg.seed <= MAX_SEED:
        msg = f"seed={cfg.seed} must be between 0 and {MAX_SEED}, or null."
        raise UserError(msg)
    if cfg.checkpoint_every_s is not None and cfg.checkpoint_every_s < 0:
        msg = f"checkpoint_every_s={cfg.checkpoint_every_s} must be 0 or more seconds, or null."
        raise UserError(msg)
    if cfg.data.sampling == "balanced" and cfg.loss.class_weights == "balanced":
        msg = "data.sampling=balanced and loss.class_weights=balanced correct for the same twice: use one of them."
        raise UserError(msg)
    epochs, steps = cfg.trainer.max_epochs, cfg.trainer.max_steps
    if not isinstance(epochs, int) or epochs < 1:
        msg = f"trainer.max_epochs={epochs} trains nothing: give a whole number from 1."
        raise UserError(msg)
    if steps == 0:
        msg = "trainer.max_steps=0 trains nothing: give a number from 1, or -1 for no limit."
        raise UserError(msg)
    for name in ("limit_train_batches", "limit_val_batches"):
        if not cfg.trainer[name] > 0:
            msg = f"trainer.{name}={cfg.trainer[name]} must be above 0: a share (0.5) or a number of batches (10)."
            raise UserError(msg)
    if cfg.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        msg = f"trainer.accelerator={cfg.trainer.accelerator}, but torch finds no GPU here: use trainer=cpu."
        raise UserError(msg)
    check_devices(cfg)
    check_objectives(cfg)
    if cfg.get("from_sweep") and not cfg.get("origin"):
        given = f"from_sweep={cfg.from_sweep}"
        msg = f"{given} is for the command line, python -m dogbreed.train {given}."
        raise UserError(msg)
