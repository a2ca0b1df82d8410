"""Fine-tune an image classifier with one command, on your own machine or on Amazon SageMaker.

Public names are loaded on first use, so that ``import dogbreed`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed.classifier import ImageClassifier
    from dogbreed.config import compose, conf_dir
    from dogbreed.data.augment import AugmentSettings
    from dogbreed.data.preprocess import Preprocessing
    from dogbreed.datamodule import ImageDataModule
    from dogbreed.errors import UserError
    from dogbreed.fit.build import prepare
    from dogbreed.fit.overview import draw_pictures
    from dogbreed.fit.run import RunResult, fit_run
    from dogbreed.loaded_model import LoadedModel
    from dogbreed.model_folder import load_model, save_model
    from dogbreed.nets.finetune import FinetuneSettings
    from dogbreed.nets.optim import OptimSettings

_HOMES = {
    "AugmentSettings": "dogbreed.data.augment",
    "FinetuneSettings": "dogbreed.nets.finetune",
    "ImageClassifier": "dogbreed.classifier",
    "ImageDataModule": "dogbreed.datamodule",
    "LoadedModel": "dogbreed.loaded_model",
    "OptimSettings": "dogbreed.nets.optim",
    "Preprocessing": "dogbreed.data.preprocess",
    "RunResult": "dogbreed.fit.run",
    "UserError": "dogbreed.errors",
    "compose": "dogbreed.config",
    "conf_dir": "dogbreed.config",
    "draw_pictures": "dogbreed.fit.overview",
    "fit_run": "dogbreed.fit.run",
    "load_model": "dogbreed.model_folder",
    "prepare": "dogbreed.fit.build",
    "save_model": "dogbreed.model_folder",
}

__all__ = [
    "AugmentSettings",
    "FinetuneSettings",
    "ImageClassifier",
    "ImageDataModule",
    "LoadedModel",
    "OptimSettings",
    "Preprocessing",
    "RunResult",
    "UserError",
    "compose",
    "conf_dir",
    "draw_pictures",
    "fit_run",
    "load_model",
    "prepare",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("dogbreed")
    if name not in _HOMES:
        msg = f"module 'dogbreed' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
