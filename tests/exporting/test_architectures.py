"""Every network of conf/model, a transformer and a newer convolutional one, in every format; and real photographs."""

import numpy as np
import pytest
import torch
import yaml
from helpers import PHOTOS, WEIGHTS, save_picture
from torch import nn

from dogbreed import ImageClassifier, compose, fit_run, load_model, save_model
from dogbreed.config import conf_dir
from dogbreed.data.decode import decode_image
from dogbreed.exporting.formats import FORMATS, open_file
from dogbreed.exporting.verifying import TOLERANCE
from dogbreed.exporting.writing import export_model
from dogbreed.nets.familiarity import Familiarity
from dogbreed.nets.features import logits_and_features

CONFIGURED = [
    architecture
    for file in sorted((conf_dir() / "model").glob("*.yaml"))
    if (architecture := yaml.safe_load(file.read_text()).get("architecture")) and architecture != "???"
]
# Transformers, convolutions with LayerNorm, convolutions that pad by the picture's size, and ones that are not folded.
OTHERS = ["vit_tiny_patch16_224", "convnext_atto", "tf_efficientnet_b0", "densenet121", "swin_tiny_patch4_window7_224"]


def saved(architecture, folder):
    """A network with statistics and answers of its own, though it has learned nothing."""
    generator = torch.Generator().manual_seed(0)
    side = 224 if "224" in architecture else 96
    names = [f"class {number}" for number in range(10)]
    model = ImageClassifier(architecture, names, pretrained=False, input_size_px=side).eval()
    for module in model.net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)  # some begin with 0
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.running_mean.normal_(std=0.1, generator=generator)
    with torch.no_grad():
        images = torch.randn(24, 3, side, side, generator=generator)
        logits_BK, features_BD = logits_and_features(model.net, images)
    photo = save_picture(folder / "photo.png", (200, 90, 20), 1, size=(300, 200))
    # As sure of its answers as a trained one.
    details = {"temperature": float(logits_BK.std()) / 2, "familiarity": Familiarity.of(features_BD[:16], features_BD)}
    return save_model(folder / "model", model, example=photo, **details)


def test_the_configured_networks_are_found():
    assert len(CONFIGURED) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("architecture", [*CONFIGURED, *OTHERS])
def test_every_network_in_every_format(architecture, tmp_path):
    folder = saved(architecture, tmp_path)
    targets = {name: tmp_path / item.file_name for name, item in FORMATS.items()}
    pixels = np.random.default_rng(1)
    model = load_model(folder)
    side = model.preprocessing.input_size_px
    for item in export_model(folder, targets):
        assert item.verification.largest_difference <= TOLERANCE
        answer = open_file(FORMATS[item.format], item.file)
        for batch_size in (1, 2, 7):
            views = pixels.integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8)
            expected = model.probabilities(torch.from_numpy(views).permute(0, 3, 1, 2)).numpy()
            assert np.abs(answer(views)["probabilities"] - expected).max() <= TOLERANCE
            assert np.ptp(expected) > 0.01
        weights = (folder / "model.safetensors").stat().st_size
        assert item.file.stat().st_size < 1.1 * weights + 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("opset", [19, 21, 25])
def test_other_opsets(opset, finished_run, tmp_path):
    import onnx

    (item,) = export_model(finished_run.run_dir, {"onnx": tmp_path / "model.onnx"}, opset=opset)
    assert [part.version for part in onnx.load(item.file).opset_import if not part.domain] == [opset]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.photos
def test_200_photographs(tmp_path):
    """A trained network says the same of photographs in every format: the first five classes, to five digits."""
    overrides = [
        "model=mobilenetv2",
        f"model.weights='{WEIGHTS}'",
        "data=folder",
        f"data.root='{PHOTOS / 'dogs-small'}'",
    ]
    overrides += ["finetune=head", "trainer=cpu", "trainer.max_epochs=3", "logger=none", "report=false"]
    run = fit_run(compose(overrides), tmp_path / "run")
    model = load_model(run.model_dir)
    files = (
        sorted((PHOTOS / "dogs-small" / "test").rglob("*.jpg"))[::2] + sorted((PHOTOS / "clothing").rglob("*.jpg"))[:60]
    )
    assert len(files) == 200
    expected = model.predict(files, top_k=20)
    views = torch.stack([model.preprocessing.center_crop(decode_image(file)) for file in files])
    pixels = np.ascontiguousarray(views.permute(0, 2, 3, 1).numpy())
    targets = {name: tmp_path / item.file_name for name, item in FORMATS.items()}
    for item in export_model(run.run_dir, targets):
        assert item.verification.num_pictures == 1 + 32 + 4
        answer = open_file(FORMATS[item.format], item.file)
        found = np.concatenate([answer(part)["probabilities"] for part in np.split(pixels, 10)])
        for row, prediction in zip(found, expected, strict=True):
            order = row.argsort()[::-1]
            assert row[order] == pytest.approx(prediction.probabilities, abs=1e-5)
            firm = min(-np.diff(prediction.probabilities[:6])) > 2e-5
            assert not firm or [model.class_names[place] for place in order[:5]] == list(prediction.labels[:5])
