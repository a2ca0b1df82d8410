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
from dogbreed.data.decode import decode_image
from dogbreed.model_folder import FORMAT_VERSION, find_model_folder, verify_model
from dogbreed.nets.familiarity import Familiarity
from dogbreed.nets.features import logits_and_features


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


@pytest.fixture
def familiar(tmp_path):
    """A model that knows 60 pictures of three colours and has seen 120 more, and its folder."""
    model = ImageClassifier("test_resnet", ["blue", "green", "red"], pretrained=False, input_size_px=32).eval()
    colors = [(40, 60, 200), (40, 180, 60), (210, 40, 40)]
    pictures = [save_picture(tmp_path / "known" / f"{i}.png", colors[i % 3], i) for i in range(180)]
    views = torch.stack([model.preprocessing.center_crop(decode_image(path)) for path in pictures])
    with torch.inference_mode():
        _, features = logits_and_features(model.net, model.preprocessing.normalize(views))
    return save_model(tmp_path / "model", model, familiarity=Familiarity.of(features[:60], features[60:]))


def test_what_is_unlike_the_training_data_is_said(familiar, tmp_path):
    loaded = load_model(familiar)
    alike = [save_picture(tmp_path / f"a{i}.png", (210, 40, 40), 1000 + i) for i in range(20)]
    stripes = Image.new("L", (48, 40))
    stripes.putdata([255 * (x // 6 % 2) for _ in range(40) for x in range(48)])
    stripes.save(tmp_path / "stripes.png")
    *known, strange = loaded.predict([*alike, tmp_path / "stripes.png"])
    assert sum(answer.unlike_training_data for answer in known) <= 2
    assert sum(answer.familiarity for answer in known) / 20 > 0.2
    assert strange.familiarity == pytest.approx(1 / 121)
    assert strange.unlike_training_data
    assert strange.to_dict()["familiarity"] == strange.familiarity
    assert strange.to_dict()["unlike_training_data"] is True
    info = json.loads((familiar / "model.json").read_text())["familiarity"]
    assert (info["num_references"], info["num_held_out"]) == (60, 120)
    assert (familiar / "familiarity.safetensors").stat().st_size < 120 * 96 * 2 + 500
    edit(familiar, familiarity={**info, "unlike_below": 0.0})
    assert not load_model(familiar).predict([tmp_path / "stripes.png"])[0].unlike_training_data


def test_folders_without_familiarity_load(familiar, tmp_path):
    info = json.loads((familiar / "model.json").read_text())
    del info["familiarity"]  # as folders were before there was any
    (familiar / "model.json").write_text(json.dumps(info))
    (familiar / "familiarity.safetensors").unlink()
    (answer,) = load_model(familiar).predict([save_picture(tmp_path / "a.png", (1, 2, 3), 1)])
    assert answer.familiarity is None
    assert not answer.unlike_training_data


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"x"), lambda file: file.unlink()])
def test_damaged_familiarity_is_refused(familiar, damage):
    damage(familiar / "familiarity.safetensors")
    with pytest.raises(UserError, match=r"familiarity\.safetensors .*: copy the model folder again"):
        load_model(familiar)


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
