"""What is served is what predict and evaluate say."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from served import CLASS_NAMES, encoded, picture, save_tiny

from dogbreed.errors import UserError
from dogbreed.model_folder import load_model
from dogbreed.serving import engine as engine_module
from dogbreed.serving.errors import RequestError
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.requests import Limits, Request

PICTURES = [
    encoded(picture(seed, (40 + seed, 60 - seed)), format) for seed, format in enumerate(["JPEG", "PNG", "WEBP"] * 3)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("served") / "model", example=encoded())


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.load(folder, "cpu")


def views(predictor, pictures=PICTURES):
    return [predictor.view(item) for item in pictures]


def assert_same(answers, predictions, atol=1e-5):
    assert len(answers) == len(predictions)
    for answer, expected in zip(answers, predictions, strict=True):
        found = answer.prediction
        assert found.labels == expected.labels
        assert np.allclose(found.probabilities, expected.probabilities, rtol=0, atol=atol)
        assert found.familiarity == pytest.approx(expected.familiarity, abs=0.03)  # a step is 1/41
        assert found.unlike_training_data == expected.unlike_training_data


def test_answers_are_those_of_predict(predictor, folder):
    expected = load_model(folder).predict(PICTURES, top_k=3)
    assert_same(predictor.predict_batch(views(predictor), top_k=3), expected)
    one_by_one = [predictor.predict_batch([view], top_k=3)[0] for view in views(predictor)]
    assert_same(one_by_one, expected)
    assert len({answer.prediction.probabilities for answer in one_by_one}) == len(PICTURES)


def test_layers_are_folded_and_answers_stay(predictor):
    assert "15 folded layers" in predictor.describe()["engine"]


@pytest.mark.parametrize(
    "architecture",
    ["test_efficientnet", "test_vit", "test_convnext", "test_nfnet", "test_mambaout", "mobilenetv3_small_050"],
)
def test_other_architectures(architecture, tmp_path):
    side = 160 if architecture == "test_vit" else 64
    folder = save_tiny(tmp_path / "model", architecture, side, familiarity=None)
    predictor = Predictor.load(folder, "cpu")
    pictures = PICTURES[:2]
    expected = load_model(folder).predict(pictures, top_k=3)
    for answer, wanted in zip(predictor.predict_batch(views(predictor, pictures), explain=True), expected, strict=True):
        assert answer.prediction.labels == wanted.labels
        assert np.allclose(answer.prediction.probabilities, wanted.probabilities, rtol=0, atol=1e-5)
        assert answer.prediction.familiarity is None


def test_a_network_that_cannot_be_made_quick_is_served_as_it_is(folder, monkeypatch, caplog):
    def spoil(net):
        with torch.no_grad():
            net.get_classifier().bias += torch.arange(3)
        return 1

    monkeypatch.setattr(engine_module, "bake", spoil)
    spared = Predictor.load(folder, "cpu")
    assert "served as it is" in caplog.text
    assert spared.describe()["engine"] == "eager"
    assert_same(spared.predict_batch(views(spared), top_k=3), load_model(folder).predict(PICTURES, top_k=3))


def test_top_k_is_at_most_the_number_of_classes(predictor):
    view = views(predictor)[:1]
    assert [len(predictor.predict_batch(view, top_k=k)[0].prediction.labels) for k in (1, 2, 1000)] == [1, 2, 3]
    assert predictor.predict_batch([]) == []


def test_pixels_from_a_numpy_body(predictor):
    pixels = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    answer = predictor.predict_batch([predictor.view(pixels)])
    assert answer == predictor.predict_batch([predictor.view(encoded(format="PNG"))])


def test_a_request_is_answered_in_order_with_errors_in_their_places(predictor):
    limits = Limits(max_pixels=5000)
    large = encoded(picture(size=(100, 90)))
    found = predictor.answer(Request((PICTURES[0], b"nothing", large, PICTURES[1]), top_k=2, explain=True), limits)
    assert [item.status for item in found if isinstance(item, RequestError)] == [400, 413]
    assert [len(item.prediction.labels) for item in (found[0], found[3])] == [2, 2]
    assert found[3].explanation.label == found[3].prediction.labels[0]
    assert predictor.answer(Request((b"nothing",)), limits)[0].status == 400


def test_threads_share_a_predictor(predictor):
    expected = [predictor.predict_batch([view])[0] for view in views(predictor)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: predictor.predict_batch([predictor.view(PICTURES[n % 9])])[0], range(90)))
    assert found == expected * 10


def test_description(predictor, folder):
    predictor.warm_up([1, 3])
    described = json.loads(json.dumps(predictor.describe(), allow_nan=False))
    assert described["class_names"] == list(CLASS_NAMES) == list(predictor.class_names)
    assert (described["architecture"], described["input_size_px"], described["device"]) == ("test_resnet", 32, "cpu")
    assert described["explains"] is described["knows_familiarity"] is True
    assert described["weights_sha256"] == json.loads((folder / "model.json").read_text())["weights_sha256"]
    assert str(folder) not in json.dumps(described)


def test_bad_folders_and_settings(folder, tmp_path):
    with pytest.raises(UserError, match="neither a run folder nor a model folder"):
        Predictor.load(tmp_path)
    with pytest.raises(UserError, match="device=tpu is unknown: use auto, cpu, cuda"):
        Predictor.load(folder, "tpu")
    with pytest.raises(UserError, match="device=meta is unknown"):
        Predictor.load(folder, "meta")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device=cuda, but torch finds 0 GPUs"):
            Predictor.load(folder, "cuda")
    with pytest.raises(UserError, match="num_threads=0 must be at least 1"):
        Predictor.load(folder, num_threads=0)


def test_a_fresh_process_loads_nothing_of_training_and_knows_few_formats(folder):
    code = f"""
import sys
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.requests import Limits, read_request
from dogbreed.serving.answers import write_answers
from dogbreed.serving.errors import RequestError
import dogbreed.serving.classic
predictor = Predictor.load({str(folder)!r}, "cpu", num_threads=1)
predictor.warm_up([1])
body = open({str(folder / "example.jpg")!r}, "rb").read()
request = read_request(body, "image/jpeg", {{}}, Limits())
print(write_answers(predictor.answer(request, Limits()), "", True)[0].decode())
for start in (b"\\x89PNG\\r\\n\\x1a\\n", b"GIF89a", b"BM", b"RIFF    WEBP", b"\\xff\\xd8\\xff", b"II*\\0"):
    try:
        predictor.view(start + bytes(64))
    except RequestError:
        pass
from PIL import Image
print(sorted({{"TIFF", "EPS", "FITS", "WEBP"}} & set(Image.OPEN)))
unwanted = "lightning pytorch_lightning hydra omegaconf smdebug tensorboard matplotlib boto3 pandas sklearn optuna"
print(sorted(set(unwanted.split()) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    answer, formats, unwanted = done.stdout.strip().splitlines() or [done.stderr] * 3
    expected = json.loads((folder / "example.json").read_text())
    assert json.loads(answer)["top"] == [
        {"label": item["label"], "probability": pytest.approx(item["probability"], abs=1e-5)}
        for item in expected["top"]
    ]
    assert formats == "['WEBP']"
    assert unwanted == "[]"


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3)])
def test_odd_proportions(predictor, folder, size):
    data = encoded(Image.new("RGB", size, (200, 40, 40)), "PNG")
    assert_same(predictor.predict_batch([predictor.view(data)], 3), load_model(folder).predict([data], 3))
