"""A model folder, ready to answer quickly: loaded, verified, warmed up.

Shape legend: B batch, S input side, K classes, D features, h/w rows and columns of the last feature map.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dogbreed.allocator import keep_some_freed_memory
from dogbreed.errors import UserError
from dogbreed.loaded_model import LoadedModel
from dogbreed.machine import num_cpus
from dogbreed.model_folder import load_model
from dogbreed.serving.answers import Answer, Explanation
from dogbreed.serving.attention import Attention
from dogbreed.serving.engine import Engine, build_engine
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.pictures import Crop, View, make_view
from dogbreed.serving.requests import Request

DEVICES = ("auto", "cpu", "cuda")


class Predictor:
    """Answers for pictures; `view` may be called by several threads at once, `predict_batch` too.

    Args:
        model: The model as `load_model` gives it.
        engine: Its network, made quick.
        attention: Its maps; None where it has none.
    """

    def __init__(self, model: LoadedModel, engine: Engine, attention: Attention | None) -> None:
        self._model = model
        self._engine = engine
        self._attention = attention
        self.class_names = model.class_names
        # Activations of more pictures fall out of a CPU's cache and, above 32 MB, are the kernel's to give, page by
        # page: MobileNetV2 takes a third longer for each picture of sixteen than of four.
        self._pass_size = max(4, 2 * torch.get_num_threads()) if model.device.type == "cpu" else None

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", num_threads: int | None = None) -> Predictor:
        """Load a model folder.

        Args:
            folder: A model folder, or a run folder that holds one.
            device: ``auto`` is a GPU where there is one; ``cpu``, ``cuda`` or ``cuda:N``.
            num_threads: With which torch computes on a CPU, in this process; as many as there are cores for it
                if None, unless ``OMP_NUM_THREADS`` says so.

        Returns:
            Loaded, and not warmed up.

        Raises:
            UserError: as `load_model`; no such device, or less than one thread.
        """
        place = _find_device(device)
        if num_threads is not None and num_threads < 1:
            msg = f"num_threads={num_threads} must be at least 1."
            raise UserError(msg)
        if num_threads or "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(num_threads or num_cpus())
        if place.type == "cpu":
            keep_some_freed_memory()
        model = load_model(folder, place)
        engine = build_engine(model, lambda: load_model(folder, place))
        return cls(engine.model, engine, _build_attention(engine))

    @property
    def input_size_px(self) -> int:
        """S."""
        return self._model.preprocessing.input_size_px

    def view(self, picture: bytes | Tensor, limits: Limits = Limits()) -> View:  # noqa: B008 -- immutable
        """Decode a picture and cut out what the network sees.

        Args:
            picture: Encoded, or uint8 pixels ``(3, H, W)``.
            limits: What is too much.

        Raises:
            RequestError: 400 or 413, and why.
        """
        return make_view(picture, self._model.preprocessing, limits)

    @torch.inference_mode()
    def predict_batch(self, views: Sequence[View], top_k: int = 5, explain: bool = False) -> list[Answer]:  # noqa: FBT001, FBT002
        """Answer for several pictures, on a GPU in one forward pass, on a CPU in as few as its cache makes good.

        Args:
            views: What `view` has made.
            top_k: Classes per answer, >= 1; at most K are given.
            explain: Say where the network looked, too.

        Returns:
            One answer a picture, in order.
        """
        size = self._pass_size or max(1, len(views))
        starts = range(0, len(views), size)
        return [answer for start in starts for answer in self._run(views[start : start + size], top_k, explain=explain)]

    def _run(self, views: Sequence[View], top_k: int, *, explain: bool) -> list[Answer]:
        views_u8_BCSS = torch.stack([view.pixels_u8_CSS for view in views])
        images = self._model.preprocessing.normalize(views_u8_BCSS.to(self._model.device))
        logits_BK, features_BD, maps = self._engine(images)
        probabilities_BK = torch.softmax(logits_BK.float() / self._model.temperature, dim=1)
        predictions = self._model.name(probabilities_BK.cpu(), features_BD, top_k)
        if not explain:
            return [Answer(prediction) for prediction in predictions]
        if self._attention is None:
            return [Answer(prediction, is_explained=True) for prediction in predictions]
        grids_Bhw = self._attention(maps, probabilities_BK.argmax(dim=1)).tolist()
        return [
            Answer(prediction, Explanation(prediction.labels[0], tuple(map(tuple, grid)), view.crop), is_explained=True)
            for prediction, grid, view in zip(predictions, grids_Bhw, views, strict=True)
        ]

    def answer(self, request: Request, limits: Limits) -> list[Answer | RequestError]:
        """Answer for all pictures of one request.

        Args:
            request: What `read_request` has read.
            limits: What is too much.

        Returns:
            In order; an error stands for a picture that cannot be read.
        """
        views: list[View | RequestError] = []
        for picture in request.pictures:
            try:
                views.append(self.view(picture, limits))
            except RequestError as error:
                views.append(error)
        readable = [view for view in views if isinstance(view, View)]
        answers = iter(self.predict_batch(readable, request.top_k, request.explain))
        return [next(answers) if isinstance(view, View) else view for view in views]

    def warm_up(self, batch_sizes: Iterable[int]) -> None:
        """Have whatever is prepared in a first pass prepared, for batches of these sizes.

        Args:
            batch_sizes: >= 1 each.
        """
        side = self.input_size_px
        blank = View(torch.zeros(side, side, 3, dtype=torch.uint8).permute(2, 0, 1), Crop(0.0, 0.0, 1.0, 1.0))
        for size in batch_sizes:
            self.predict_batch([blank] * size)
        self.predict_batch([blank], explain=True)

    def describe(self) -> dict[str, Any]:
        """Return what a client may want to know of the model, as JSON has it."""
        model = self._model
        return {
            "architecture": model.architecture,
            "class_names": list(model.class_names),
            "input_size_px": self.input_size_px,
            "preprocessing": model.preprocessing.to_dict(),
            "calibration_temperature": model.temperature,
            "knows_familiarity": model.familiarity is not None,
            "explains": self._attention is not None,
            "metrics": model.metrics,
            "weights_sha256": model.info["weights_sha256"],
            "format_version": model.info["format_version"],
            "source_revision": model.info.get("source_revision"),
            "versions": model.info.get("versions", {}),
            "device": str(model.device),
            "engine": self._engine.name,
            "num_threads": torch.get_num_threads(),
        }


def _find_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        place = None
    if place is None or place.type not in DEVICES:
        msg = f"device={device} is unknown: use {', '.join(DEVICES)}."
        raise UserError(msg)
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        msg = f"device={device}, but torch finds {torch.cuda.device_count()} GPUs here: use device=cpu."
        raise UserError(msg)
    return place


@torch.inference_mode()
def _build_attention(engine: Engine) -> Attention | None:
    model = engine.model
    side = model.preprocessing.input_size_px
    pixels = torch.linspace(0, 255, 3 * side**2).view(1, 3, side, side).to(torch.uint8)
    try:
        maps = engine(model.preprocessing.normalize(pixels.to(model.device)))[2]
        return Attention(model.net, maps)
    except (ValueError, RuntimeError, AttributeError, TypeError):
        return None
