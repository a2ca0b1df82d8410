"""One definition of preprocessing, the same bits everywhere."""

import lightning as L
import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as v2
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import ImageClassifier, ImageDataModule, Preprocessing, UserError, load_model
from dogbreed.data.decode import decode_image
from dogbreed.data.preprocess import INTERPOLATIONS, normalize_batch, resize, shrink
from dogbreed.fit.evaluation import evaluate_split


def test_it_follows_the_weights():
    resnet = Preprocessing.of("resnet50.tv_in1k")
    assert (resnet.input_size_px, resnet.resize_px, resnet.interpolation) == (224, 256, "bilinear")
    vit = Preprocessing.of("vit_tiny_patch16_224")
    assert (vit.mean, vit.interpolation) == ((0.5, 0.5, 0.5), "bicubic")
    assert Preprocessing.of("resnet50.tv_in1k", 64).resize_px == 73


def test_center_crop_equals_torchvision():
    picture = torch.randint(0, 256, (3, 333, 517), dtype=torch.uint8)
    ours = Preprocessing(224, 256, "bicubic").center_crop(picture)
    theirs = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(224)])(picture)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(224, 224), (40, 300), (37,)])
def test_resize_equals_torchvision_however_colours_lie(interpolation, size):
    whole_HWC = torch.randint(0, 256, (150, 201, 3), dtype=torch.uint8)
    for picture in (whole_HWC.permute(2, 0, 1), whole_HWC.permute(2, 0, 1).contiguous(), whole_HWC.permute(2, 1, 0)):
        cut = picture[:, 5:120, 7:107]
        theirs = v2.functional.resize(cut, list(size), INTERPOLATIONS[interpolation], antialias=True)
        assert torch.equal(resize(cut, size, interpolation), theirs)


@pytest.mark.parametrize(("height", "width"), [(133, 100), (100, 133), (57, 190), (90, 56), (57, 57)])
def test_to_shrink_is_to_resize_the_other_way_round(height, width):
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).permute(2, 0, 1)
    for interpolation, most, mean in (("nearest", 0, 0), ("bilinear", 1, 0.3), ("bicubic", 40, 0.5)):
        ours, theirs = shrink(image, 56, interpolation), resize(image, [56], interpolation)
        assert (ours.shape, ours.stride()) == (theirs.shape, theirs.stride())
        difference = (ours.int() - theirs.int()).abs()
        assert difference.max() <= most
        assert difference.float().mean() <= mean


def test_normalize_equals_torchvision():
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    theirs = v2.functional.normalize(pixels.float() / 255, mean, std)
    ours = normalize_batch(pixels, mean, std)
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(TypeError, match="already normalised"):
        normalize_batch(ours, mean, std)


@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_any_shape_gives_a_square(height, width):
    crop = Preprocessing(32, 36).center_crop(torch.zeros(3, height, width, dtype=torch.uint8))
    assert crop.shape == (3, 32, 32)


def test_a_hair_does_not_explode():
    assert Preprocessing(64, 73).center_crop(torch.zeros(3, 2, 60_000, dtype=torch.uint8)).shape == (3, 64, 64)


def test_training_evaluation_and_prediction_see_the_same_bits(tree, finished_run):
    seen = []

    def watch(net):
        first = next(module for module in net.modules() if not list(module.children()))
        first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))

    checkpoint = finished_run.run_dir / "checkpoints" / "best.ckpt"
    classifier = ImageClassifier.load_from_checkpoint(checkpoint, weights_only=True)
    data = ImageDataModule(tree, preprocessing=classifier.preprocessing, batch_size=9, num_workers=1)
    watch(classifier.net)
    L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).validate(classifier, data, verbose=False)
    evaluate_split(classifier.net, classifier.preprocessing, data.eval_dataloader("valid"), "valid", 3)

    model = load_model(finished_run.model_dir)
    watch(model.net)
    files = list(data.index.split("valid"))
    model.predict(files)
    model.predict([file.read_bytes() for file in files])

    by_hand = torch.stack([model.preprocessing.center_crop(decode_image(file)) for file in files])
    assert len(seen) == 4
    assert all(torch.equal(images, model.preprocessing.normalize(by_hand)) for images in seen)


@pytest.mark.parametrize(
    "numbers",
    [{"input_size_px": 300}, {"interpolation": "lanczos"}, {"std": (0.2, 0.2, 0.0)}, {"mean": (0.5, 0.5)}],
)
def test_numbers_out_of_range(numbers):
    with pytest.raises(UserError):
        Preprocessing(**numbers)


def test_to_dict_comes_back_from_json():
    import json

    preprocessing = Preprocessing.of("vit_tiny_patch16_224", 96)
    assert Preprocessing(**json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    assert np.isfinite(preprocessing.mean).all()
