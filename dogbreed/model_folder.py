"""The model folder: everything needed to use a trained model, and nothing else.

    model.safetensors       float32 weights, timm's own names
    model.json              architecture, classes, preprocessing, metrics, checksums, …
    familiarity.safetensors features of training pictures, to tell what is unlike them
    training_config.yaml    the whole configuration, for people
    example.jpg             a validation picture …
    example.json            … and the answer that it must give

No pickle, no Lightning, no training code is needed to load it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from dogbreed.data.decode import decode_image
from dogbreed.data.preprocess import Preprocessing
from dogbreed.errors import UserError
from dogbreed.files import replacing_folder, write_json, write_text
from dogbreed.loaded_model import LoadedModel
from dogbreed.machine import source_revision, versions
from dogbreed.model_description import (
    EXAMPLE_TOLERANCE,
    FORMAT_VERSION,
    check_sha256,
    find_model_folder,
    read_description,
    sha256_of,
)
from dogbreed.nets.backbone import build_net
from dogbreed.nets.familiarity import UNLIKE_BELOW, Familiarity

__all__ = [
    "EXAMPLE_TOLERANCE",
    "FORMAT_VERSION",
    "Trained",
    "find_model_folder",
    "load_model",
    "save_model",
    "verify_model",
]


class Trained(Protocol):
    """What can be saved: an `ImageClassifier`, a `LoadedModel`, or anything alike."""

    net: nn.Module
    architecture: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing


def save_model(
    folder: str | Path,
    model: Trained,
    *,
    temperature: float = 1.0,
    familiarity: Familiarity | None = None,
    metrics: Mapping[str, float] | None = None,
    example: Path | bytes | None = None,
    training_config: str = "",
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        folder: Where; an older model folder is replaced.
        model: What to write.
        temperature: Divides the logits before the softmax, > 0.
        familiarity: Compares pictures with held-out ones; without it no picture is
            called unlike the training data.
        metrics: What training measured, flat names such as ``val/acc_top1``.
        example: A validation picture, or its bytes; stored without its metadata, together with
            the answer that the model gives for it.
        training_config: YAML of the configuration that it was trained with.

    Returns:
        ``folder``.

    Raises:
        UserError: the folder holds something else.
    """
    folder = Path(folder).absolute()
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model.json").is_file():
        msg = f"{folder} holds something else than a model: choose a new or an empty folder."
        raise UserError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as unfinished:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
        state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        save_file(state, unfinished / "model.safetensors")
        description = {
            "format_version": FORMAT_VERSION,
            "architecture": model.architecture,
            "class_names": list(model.class_names),
            "preprocessing": model.preprocessing.to_dict(),
            "calibration_temperature": temperature,
            "familiarity": _write_familiarity(unfinished, familiarity) if familiarity else None,
            "metrics": dict(metrics or {}),
            "weights_sha256": sha256_of(unfinished / "model.safetensors"),
            "versions": versions(),
            "source_revision": source_revision(),
        }
        write_json(unfinished / "model.json", description)
        write_text(unfinished / "training_config.yaml", training_config)
        if example:
            _write_example(unfinished, example)
    return folder


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a model for answering.

    Args:
        folder: A model folder, or a run folder that holds one.
        device: Where the network goes.

    Returns:
        The model in evaluation mode.

    Raises:
        UserError: no model folder, a newer format, damaged or foreign weights.
    """
    folder = find_model_folder(folder)
    info = read_description(folder)
    weights = folder / "model.safetensors"
    check_sha256(weights, info["weights_sha256"])
    preprocessing = Preprocessing(**info["preprocessing"])
    net = build_net(
        info["architecture"],
        len(info["class_names"]),
        input_size_px=preprocessing.input_size_px,
    )
    try:
        net.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        msg = f"{weights} does not fit {info['architecture']} ({reason}): copy the model folder again."
        raise UserError(msg) from error
    net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return LoadedModel(
        net=net,
        architecture=info["architecture"],
        class_names=tuple(info["class_names"]),
        preprocessing=preprocessing,
        temperature=info["calibration_temperature"] or 1.0,
        familiarity=_read_familiarity(folder, info["familiarity"]),
        unlike_below=(info["familiarity"] or {}).get("unlike_below", UNLIKE_BELOW),
        metrics=info["metrics"],
        info=info,
    )


def verify_model(folder: str | Path) -> float:
    """Check that a model folder answers for its example as it did when it was written.

    Returns:
        The largest difference between a probability now and then.

    Raises:
        UserError: as `load_model`, or the answers differ by more than 0.001.
    """
    folder = find_model_folder(folder)
    if not (folder / "example.jpg").is_file():
        msg = f"{folder} has no example.jpg to check it with."
        raise UserError(msg)
    model = load_model(folder)
    expected = {item["label"]: item["probability"] for item in json.loads((folder / "example.json").read_text())["top"]}
    answer = model.predict([folder / "example.jpg"], top_k=len(model.class_names))[0]
    now = dict(zip(answer.labels, answer.probabilities, strict=True))
    difference: float = max(abs(now[label] - probability) for label, probability in expected.items())
    if difference > EXAMPLE_TOLERANCE or math.isnan(difference):
        msg = f"{folder} answers differently for its example than when it was written (by {difference:.3g})."
        raise UserError(msg)
    return difference


def _write_example(folder: Path, picture: Path | bytes) -> None:
    # Encoded anew: photographs carry places and names in their metadata.
    pixels = decode_image(picture).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / "example.jpg", quality=95)
    # Answered by the folder itself, as whoever loads it will be.
    answer = load_model(folder).predict([folder / "example.jpg"])[0]
    write_json(
        folder / "example.json",
        {"picture": picture.name if isinstance(picture, Path) else "example.jpg", **answer.to_dict()},
    )


def _write_familiarity(folder: Path, familiarity: Familiarity) -> dict[str, Any]:
    file = folder / "familiarity.safetensors"
    save_file({"references": familiarity.references_ND, "held_out": familiarity.similarities_M}, file)
    return {
        "file": file.name,
        "sha256": sha256_of(file),
        "num_references": len(familiarity.references_ND),
        "num_held_out": len(familiarity.similarities_M),
        "unlike_below": UNLIKE_BELOW,
    }


def _read_familiarity(folder: Path, described: Mapping[str, Any] | None) -> Familiarity | None:
    if not described:
        return None
    file = folder / described["file"]
    check_sha256(file, described["sha256"])
    tensors = load_file(file)
    return Familiarity(tensors["references"], tensors["held_out"])
