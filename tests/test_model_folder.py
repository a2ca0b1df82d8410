"""The model folder is whole, verifiable, and needs nothing else."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from helpers import save_picture
from PIL import Image
from safetensors.torch import load_file

from dogbreed import ImageClassifier, UserError, load_model, save_model
from dogbreed.model_folder import FORMAT_VERSION, find_model_folder, verify_model


@pytest.fixture
def saved(tmp_path):
    model = ImageClassifier("test_resnet", ["blue", "green", "red"], pretrained=False, input_size_px=32)
    photo = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Secret Camera"
    Image.open(save_picture(tmp_path / "p.png", (200, 20, 20), 1)).save(photo, exif=exif)
    details = {"temperature": 1.7, "metrics": {"val/acc_top1": 0.5}, "training_config": "a: 1\n"}
    folder = save_model(tmp_path / "run" / "model", model, example=photo, **details)
    return model, folder


def test_contents(saved):
    model, folder = saved
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "model.json",
        "training_config.yaml",
        "example.jpg",
        "example.json",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    info = json.loads((folder / "model.json").read_text())
    assert info["format_version"] == FORMAT_VERSION
    assert info["class_names"] == ["blue", "green", "red"]
    assert info["calibration_temperature"] == 1.7
    assert info["metrics"] == {"val/acc_top1": 0.5}
    assert info["versions"]["torch"] == torch.__version__.split("+")[0]
    tensors = load_file(folder / "model.safetensors")
    assert tensors.keys() == model.net.state_dict().keys()
    assert {tensor.dtype for tensor in tensors.values()} <= {torch.float32, torch.int64}


def test_what_was_saved_is_what_is_loaded(saved):
    model, folder = saved
    loaded = load_model(folder.parent)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.net(images), model.eval()(images))
    views = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    expected = torch.softmax(model(model.preprocessing.normalize(views)) / 1.7, 1)
    assert torch.allclose(loaded.probabilities(views), expected, atol=1e-6)


def test_the_example_is_upright_anonymous_and_answered(saved):
    _, folder = saved
    with Image.open(folder / "example.jpg") as image:
        assert image.size == (40, 48)  # turned as its tag said
        assert not image.getexif()
    assert b"Secret" not in (folder / "example.jpg").read_bytes()
    assert verify_model(folder) == 0.0
    answer = json.loads((folder / "example.json").read_text())
    assert answer["picture"] == "photo.jpg"
    assert sum(item["probability"] for item in answer["top"]) == pytest.approx(1)
    answer["top"][0]["probability"] -= 0.01
    (folder / "example.json").write_text(json.dumps(answer))
    with pytest.raises(UserError, match="answers differently"):
        verify_model(folder)


def test_predictions_are_sorted_and_named(saved, tmp_path):
    loaded = load_model(saved[1])
    pictures = [save_picture(tmp_path / f"{i}.png", (i * 20, 90, 10), i) for i in range(7)]
    answers = loaded.predict(pictures, top_k=2, batch_size=3)
    assert len(answers) == 7
    for answer in answers:
        assert len(answer.labels) == len(answer.probabilities) == 2
        assert answer.probabilities[0] >= answer.probabilities[1]
        assert answer.to_dict()["label"] == answer.labels[0]
    assert len(loaded.predict(pictures[:1], top_k=50)[0].labels) == 3
    assert loaded.predict([]) == []


def test_loading_needs_no_training_code(saved):
    code = f"""
import sys
from dogbreed import load_model
load_model({str(saved[1])!r})
print(sorted({{"lightning", "hydra", "omegaconf", "tensorboard", "matplotlib"}} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert answer.stdout.strip() == "[]", answer.stderr


def test_a_second_save_replaces_the_first(saved):
    model, folder = saved
    save_model(folder, model, temperature=2.5)
    assert load_model(folder).temperature == 2.5
    assert not (folder / "example.jpg").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_first(saved, tmp_path):
    model, folder = saved
    (tmp_path / "broken.jpg").write_bytes(b"x")
    with pytest.raises(Exception, match="not an image"):
        save_model(folder, model, example=tmp_path / "broken.jpg")
    assert verify_model(folder) == 0.0
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def edit(folder, **changes):
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**info, **changes}))


def test_folders_that_do_not_load(saved, tmp_path):
    _, folder = saved
    with pytest.raises(UserError, match="none does not exist"):
        load_model(tmp_path / "none")
    (tmp_path / "started" / ".hydra").mkdir(parents=True)
    with pytest.raises(UserError, match="its run has not finished"):
        load_model(tmp_path / "started")
    with pytest.raises(UserError, match=r"holds several runs \(run\)"):
        find_model_folder(tmp_path)
    with pytest.raises(UserError, match="neither a run folder nor a model folder"):
        load_model(folder.parent.parent / "started" / ".hydra")
    edit(folder, format_version=FORMAT_VERSION + 1)
    with pytest.raises(UserError, match=r"format version 2, this dogbreed reads up to 1: update dogbreed"):
        load_model(folder)
    edit(folder, format_version=1, weights_sha256="0" * 64)
    with pytest.raises(UserError, match="its checksum differs"):
        load_model(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_model(folder)
    (folder / "model.json").write_text('{"format_version": 1}')
    with pytest.raises(UserError, match="lacks architecture, class_names, preprocessing, weights_sha256"):
        load_model(folder)


def test_weights_that_do_not_fit_the_description(saved):
    _, folder = saved
    edit(folder, class_names=["a", "b"])
    with pytest.raises(UserError, match=r"does not fit test_resnet"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_model(folder)


def test_a_folder_of_something_else_is_not_replaced(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "photos")
    model = ImageClassifier("test_resnet", ["a", "b"], pretrained=False, input_size_px=32)
    with pytest.raises(UserError, match="photos holds something else than a model"):
        save_model(tmp_path / "photos", model)
    assert len(list((tmp_path / "photos").rglob("*.jpg"))) == 45
    assert save_model(tmp_path / "model", model) == save_model(tmp_path / "model", model)
