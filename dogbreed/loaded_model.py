"""A trained model that answers: pictures in, classes and probabilities out.

Shape legend: B batch, S input side, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dogbreed.data.decode import decode_image
from dogbreed.data.preprocess import Preprocessing
from dogbreed.nets.familiarity import UNLIKE_BELOW, Familiarity
from dogbreed.nets.features import logits_and_features


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture.

    Args:
        labels: Class names, the most probable first.
        probabilities: Their calibrated probabilities, 0..1, in the same order.
        familiarity: Share of held-out pictures of the training data's kind that are at
            least as strange as this one, 0..1; None where the model folder cannot tell.
        unlike_training_data: The picture is stranger than about 99 of 100 of those: no
            class may fit, whatever the probabilities say.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    familiarity: float | None = None
    unlike_training_data: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return ``label``, ``probability``, ``top`` (a list of both), ``familiarity``, ``unlike_training_data``."""
        top = [{"label": name, "probability": p} for name, p in zip(self.labels, self.probabilities, strict=True)]
        known = {"familiarity": self.familiarity, "unlike_training_data": self.unlike_training_data}
        return {**top[0], "top": top, **known}


@dataclass
class LoadedModel:
    """A network with all that it takes to answer: classes, preprocessing, temperature.

    Args:
        net: ``(B, 3, S, S)`` normalised pixels to ``(B, K)`` logits.
        architecture: timm name.
        class_names: Names in index order, K of them.
        preprocessing: How a picture becomes network input.
        temperature: Divides the logits before the softmax.
        familiarity: Compares pictures with held-out ones; None in folders that were made without.
        unlike_below: Familiarity below which a picture is called unlike the training data, 0..1.
        metrics: What training measured, flat names such as ``val/acc_top1``.
        info: The whole ``model.json``.
    """

    net: nn.Module
    architecture: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    familiarity: Familiarity | None = None
    unlike_below: float = UNLIKE_BELOW
    metrics: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The device that the weights live on."""
        return next(self.net.parameters()).device

    def to(self, device: str | torch.device) -> LoadedModel:
        """Move the network to a device, in place."""
        self.net.to(device)
        return self

    @torch.inference_mode()
    def probabilities(self, views_u8_BCSS: Tensor) -> Tensor:
        """Compute calibrated class probabilities.

        Args:
            views_u8_BCSS: Centre crops, uint8, as `Preprocessing.center_crop` makes them.

        Returns:
            ``(B, K)`` float32 on the CPU, each row summing to 1.
        """
        return self._run(views_u8_BCSS)[0]

    @torch.inference_mode()
    def answer(self, views_u8_BCSS: Tensor, top_k: int = 5) -> list[Prediction]:
        """Classify pictures that are cropped already.

        Args:
            views_u8_BCSS: Centre crops, uint8, as `Preprocessing.center_crop` makes them.
            top_k: Classes per answer, >= 1; at most K are given.

        Returns:
            One prediction a picture, in order.
        """
        return self.name(*self._run(views_u8_BCSS), top_k)

    def name(self, probabilities_BK: Tensor, features_BD: Tensor, top_k: int = 5) -> list[Prediction]:
        """Put into words what the network has made of pictures.

        Args:
            probabilities_BK: Calibrated, float32, on the CPU.
            features_BD: What goes into the network's last layer.
            top_k: Classes per answer, >= 1; at most K are given.

        Returns:
            One prediction a picture, in order.
        """
        values, indices = probabilities_BK.topk(min(top_k, len(self.class_names)), dim=1)
        familiarity = self.familiarity(features_BD).tolist() if self.familiarity else [None] * len(values)
        return [
            Prediction(
                tuple(self.class_names[i] for i in row_i),
                tuple(row_v),
                known,
                unlike_training_data=known is not None and known < self.unlike_below,
            )
            for row_i, row_v, known in zip(indices.tolist(), values.tolist(), familiarity, strict=True)
        ]

    def predict(self, pictures: Sequence[Path | str | bytes], top_k: int = 5, batch_size: int = 32) -> list[Prediction]:
        """Classify picture files.

        Args:
            pictures: Paths, or the bytes of encoded pictures.
            top_k: Classes per answer, >= 1; at most K are given.
            batch_size: Pictures in a forward pass, >= 1.

        Returns:
            One prediction a picture, in order.

        Raises:
            BadImageError: a picture cannot be decoded.
        """
        answers: list[Prediction] = []
        for start in range(0, len(pictures), batch_size):
            views = [
                self.preprocessing.center_crop(decode_image(item)) for item in pictures[start : start + batch_size]
            ]
            answers += self.answer(torch.stack(views), top_k)
        return answers

    def _run(self, views_u8_BCSS: Tensor) -> tuple[Tensor, Tensor]:
        self.net.eval()
        images = self.preprocessing.normalize(views_u8_BCSS.to(self.device))
        logits_BK, features_BD = logits_and_features(self.net, images)
        return torch.softmax(logits_BK.float() / self.temperature, dim=1).cpu(), features_BD
