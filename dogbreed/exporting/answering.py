"""What is in an exported file: everything between a picture's cropped pixels and its answer.

Normalisation, temperature, softmax and the comparison with training pictures are inside, so that nobody can get them
wrong. What is left to do outside is to resize and to crop, which no exchange format does as training did.

Shape legend: B batch, S input side, K classes, N references, M held-out pictures, D features.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from dogbreed.data.preprocess import MAX_ASPECT_RATIO
from dogbreed.loaded_model import LoadedModel
from dogbreed.machine import versions
from dogbreed.nets.familiarity import Familiarity
from dogbreed.nets.features import logits_and_features
from dogbreed.nets.folding import fuse

PIXELS, PROBABILITIES, FAMILIARITY = "pixels", "probabilities", "familiarity"

PREPARATION = {
    "center": "Turn the picture upright (EXIF), to RGB; resize its shorter side to {resize_px} pixels "
    "({interpolation}, antialiased); cut the {input_size_px} × {input_size_px} centre.",
    "squash": "Turn the picture upright (EXIF), to RGB; resize it to {resize_px} × {resize_px} pixels, whatever its "
    "proportions ({interpolation}, antialiased); cut the {input_size_px} × {input_size_px} centre.",
}


class Answering(nn.Module):
    """Pixels in, answers out.

    Args:
        model: What answers; it stays as it is.
    """

    scale_C: Tensor
    shift_C: Tensor

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.net = fuse(model.net)
        self.temperature = model.temperature
        mean_C, std_C = (torch.tensor(numbers) for numbers in (model.preprocessing.mean, model.preprocessing.std))
        self.register_buffer("scale_C", 1.0 / (255.0 * std_C))
        self.register_buffer("shift_C", -mean_C / std_C)
        self.neighbors = _Neighbors(model.familiarity) if model.familiarity else None

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Answer for cropped pictures.

        Args:
            pixels: uint8, ``(B, S, S, 3)``, RGB, as `numpy.asarray` makes them of a picture.

        Returns:
            ``probabilities``, ``(B, K)``, and where the model can tell ``familiarity``, ``(B,)``; float32.
        """
        images_BCSS = (pixels.float() * self.scale_C + self.shift_C).permute(0, 3, 1, 2)
        logits_BK, features_BD = logits_and_features(self.net, images_BCSS)
        answers = {PROBABILITIES: torch.softmax(logits_BK / self.temperature, dim=1)}
        return answers if self.neighbors is None else answers | {FAMILIARITY: self.neighbors(features_BD)}


class _Neighbors(nn.Module):
    """`Familiarity` in operations that every exchange format has."""

    references_DN: Tensor
    similarities_M: Tensor

    def __init__(self, familiarity: Familiarity) -> None:
        super().__init__()
        self.num_neighbors = familiarity.num_neighbors
        self.num_held_out = len(familiarity.similarities_M)
        self.register_buffer("references_DN", familiarity.references_ND.float().T.contiguous())
        self.register_buffer("similarities_M", familiarity.similarities_M.clone())

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return the familiarity of each picture."""
        cosines_BN = nn.functional.normalize(features_BD, dim=1) @ self.references_DN
        similarity_B1 = cosines_BN.topk(self.num_neighbors, dim=1).values[:, -1:]
        num_stranger_B = (self.similarities_M <= similarity_B1).float().sum(dim=1)
        return (1.0 + num_stranger_B) / (1.0 + self.num_held_out)


def describe(model: LoadedModel) -> dict[str, Any]:
    """Return what a file says about itself: all that it takes to use it, and where it comes from."""
    preprocessing, side = model.preprocessing.to_dict(), model.preprocessing.input_size_px
    preparation = PREPARATION[model.preprocessing.crop_mode].format(**preprocessing)
    outputs = {PROBABILITIES: f"float32 (batch, {len(model.class_names)}), calibrated, in the order of class_names"}
    if model.familiarity:
        outputs[FAMILIARITY] = (
            "float32 (batch,), 0 to 1: share of held-out pictures of the training data's kind that are at least as "
            f"strange; below {model.unlike_below:g} no class may fit, whatever the probabilities say"
        )
    kept = ("input_size_px", "resize_px", "interpolation", "crop_mode")
    return {
        "description": f"{preparation} Everything else is inside: give the pixels as they are, 0 to 255.",
        "input": {PIXELS: f"uint8 (batch, {side}, {side}, 3), RGB"},
        "outputs": outputs,
        "class_names": list(model.class_names),
        "preprocessing": {name: preprocessing[name] for name in kept} | {"max_aspect_ratio": MAX_ASPECT_RATIO},
        "unlike_below": model.unlike_below if model.familiarity else None,
        "architecture": model.architecture,
        "metrics": model.metrics,
        "weights_sha256": model.info.get("weights_sha256"),
        "versions": {"exported": versions(), "trained": model.info.get("versions")},
    }


def describe_flat(about: dict[str, Any]) -> dict[str, str]:
    """Return the description as texts, JSON where a value is none, for formats that keep nothing else."""
    texts = {key: value for key, value in about.items() if isinstance(value, str)}
    return {key: json.dumps(value, ensure_ascii=False) for key, value in about.items()} | texts
