"""Small model folders and encoded pictures for the tests of serving."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dogbreed.data.preprocess import Preprocessing
from dogbreed.model_folder import save_model
from dogbreed.nets.backbone import build_net
from dogbreed.nets.familiarity import Familiarity
from dogbreed.nets.features import logits_and_features
from dogbreed.serving.errors import RequestError
from dogbreed.serving.requests import Limits, read_request

CLASS_NAMES = ("blue", "green", "red")


def tiny_net(architecture: str = "test_resnet", side: int = 32, num_classes: int = 3) -> nn.Module:
    """Build a network whose weights and statistics are not those of a new one, so that each layer matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_net(architecture, num_classes, input_size_px=side).eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.running_mean, -0.2)):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
        head = net.get_classifier()
        if isinstance(head, (nn.Linear, nn.Conv2d)):
            head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * 0.1)
    return net


def save_tiny(folder: Path, architecture: str = "test_resnet", side: int = 32, **details) -> Path:
    """Save a small model; it compares pictures with noise."""
    net = tiny_net(architecture, side)
    preprocessing = Preprocessing.of(architecture, side)
    noise = torch.randint(0, 256, (60, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = logits_and_features(net, preprocessing.normalize(noise))[1].clone()
    model = SimpleNamespace(net=net, architecture=architecture, class_names=CLASS_NAMES, preprocessing=preprocessing)
    details = {"temperature": 1.3, "familiarity": Familiarity.of(features[:20], features[20:]), **details}
    return save_model(folder, model, **details)


def picture(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Draw smooth noise."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image | None = None, format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, format=format, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def form(*parts: tuple[str, bytes, str | None], boundary: str = "xyz") -> tuple[bytes, str]:
    """Encode name, content and file name of parts as a browser does; returns the body and its content type."""
    lines = []
    for name, content, filename in parts:
        said = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        lines.append(f"--{boundary}\r\nContent-Disposition: {said}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


LIMITS = Limits(max_body_bytes=3_000_000, max_pixels=1_000_000, max_pictures=4)
PHOTO = encoded()
B64 = base64.b64encode(PHOTO).decode()


def read(body, content_type="application/json", **options):
    body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    return read_request(body, content_type, options, LIMITS)


def refused(body, content_type="application/json", **options):
    with pytest.raises(RequestError) as caught:
        read(body, content_type, **options)
    sentence = caught.value.sentence
    assert str(caught.value) == sentence
    assert len(sentence) < 300
    assert sentence[-1] in ".?"
    return caught.value.status, sentence
