"""What a training configuration says to those who will use the model: names and numbers, no path of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# Words for people, and where the value is.
_SETTINGS = {
    "fine-tuning": "finetune.mode",
    "epochs": "trainer.max_epochs",
    "batch size": "data.batch_size",
    "optimiser": "optim.name",
    "learning rate": "optim.lr",
    "weight decay": "optim.weight_decay",
    "label smoothing": "loss.label_smoothing",
    "dropout": "model.dropout",
    "crops, share of the picture": "augment.crop_scale",
    "flips, probability": "augment.flip_probability",
    "distortions a picture": "augment.num_distortions",
    "mixup and cutmix, probability": "augment.mix.probability",
    "average of the weights, decay": "ema.decay",
    "precision": "trainer.precision",
    "seed": "seed",
}


def lookup(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key; None where there is none.

    Example:
        >>> lookup({"a": {"b": 1}}, "a.b"), lookup({"a": 2}, "a.b")
        (1, None)
    """
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def data_name(config: Mapping[str, Any]) -> str:
    """Return what a data set may be called: its folder's or its source's name, never where it lies."""
    root = lookup(config, "data.root") or lookup(config, "data.packed") or lookup(config, "data.manifest")
    source = lookup(config, "data.source.name") or lookup(config, "data.source._target_")
    if root:
        return PurePath(str(root)).name or "pictures"
    return str(source).rpartition(".")[2] if source else "pictures"


def base_model(architecture: str, config: Mapping[str, Any]) -> str | None:
    """Return the hub's name of the weights that training began with, if they come from there."""
    is_timms = lookup(config, "model.pretrained") is True and not lookup(config, "model.weights")
    return f"timm/{architecture}" if is_timms and "." in architecture else None


def training_rows(architecture: str, config: Mapping[str, Any], metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return rows of words and values about how a model was trained; only what is known."""
    weights = lookup(config, "model.weights")
    begun = (
        f"weights of a file, {PurePath(str(weights)).name}"
        if weights
        else f"timm's {architecture}"
        if lookup(config, "model.pretrained") is True
        else "random weights"
        if lookup(config, "model.pretrained") is False
        else None
    )
    rows: list[tuple[str, Any]] = [("network", architecture), ("began with", begun)]
    if "num_parameters" in metrics:
        rows.append(("parameters", f"{metrics['num_parameters'] / 1e6:.1f} million"))
    rows += [(words, lookup(config, key)) for words, key in _SETTINGS.items()]
    if "seconds" in metrics:
        rows.append(("time", f"{metrics['seconds']:.0f} s"))
    return [(words, _as_text(value)) for words, value in rows if value is not None]


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " to ".join(map(_as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
