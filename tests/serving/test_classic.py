"""The four functions of SageMaker's classic containers, called by AWS's own toolkit."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inference_toolkit import inference_toolkit_python
from served import encoded, form, npy, picture, save_tiny

from dogbreed.model_folder import load_model
from dogbreed.serving.classic import input_fn, model_fn, output_fn, predict_fn
from dogbreed.serving.errors import RequestError

PHOTO = encoded()
B64 = base64.b64encode(PHOTO).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("classic") / "model")


def test_without_a_context(folder):
    model = model_fn(str(folder))

    def call(body, content_type, accept="application/json"):
        return output_fn(predict_fn(input_fn(body, content_type), model), accept)

    body, content_type = call(PHOTO, "image/jpeg")
    assert content_type == "application/json"
    expected = load_model(folder).predict([PHOTO])[0].to_dict()
    assert json.loads(body)["label"] == expected["label"]
    assert json.loads(body)["probability"] == pytest.approx(expected["probability"], abs=1e-5)
    assert call(json.dumps({"image": B64}), "application/json")[0] == body  # the toolkit makes text of JSON
    assert call(bytearray(PHOTO), "image/jpeg")[0] == body
    assert call(PHOTO, "image/jpeg", "text/csv")[1].startswith("text/csv")
    many = json.loads(call(json.dumps({"images": [B64, "AAAA"]}), "application/json")[0])["predictions"]
    assert many[0] == json.loads(body)
    assert "not a picture" in many[1]["error"]
    for body, content_type, accept, status in (
        (b"x", "image/jpeg", "", 400),
        (b"x", "text/plain", "", 415),
        (PHOTO, "image/jpeg", "image/png", 406),
    ):
        with pytest.raises(RequestError) as caught:
            call(body, content_type, accept)
        assert caught.value.status == status


@pytest.mark.slow
def test_called_by_the_toolkit_of_aws(folder):
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "inference.py").write_text("from dogbreed.serving.classic import *\n")
    form_body, form_type = form(("image", PHOTO, "a.jpg"))
    requests = [
        (PHOTO, {"Content-Type": "image/jpeg"}),
        (json.dumps({"image": B64, "top_k": 1}).encode(), {"content-type": "application/json", "accept": "*/*"}),
        (PHOTO, {"content-type": "image/jpeg", "x-amzn-sagemaker-custom-attributes": "top_k=2,explain=true"}),
        (PHOTO, {"Content-Type": "image/jpeg", "Accept": "text/csv"}),
        (npy(np.array(picture())), {"Content-Type": "application/x-npy"}),
        (form_body, {"Content-Type": form_type}),
        (json.dumps({"images": [B64, "AAAA"]}).encode(), {"Content-Type": "application/json"}),
        (b"no picture", {"Content-Type": "image/jpeg"}),
        (b"{", {"Content-Type": "application/json"}),
        (PHOTO, {"Content-Type": "text/weird"}),
        (PHOTO, {"Content-Type": "image/jpeg", "Accept": "image/png"}),
        (PHOTO, {"Content-Type": "image/jpeg"}),
    ]
    sent = [{"body": base64.b64encode(body).decode(), "headers": headers} for body, headers in requests]
    program = Path(__file__).resolve().parent.parent / "inference_toolkit.py"
    env = {
        **os.environ,
        "SAGEMAKER_PROGRAM": "inference.py",
        "PYTHONPATH": os.pathsep.join(
            [str(folder / "code"), *map(str, map(Path.absolute, map(Path, filter(None, sys.path))))]
        ),
    }
    done = subprocess.run(
        [inference_toolkit_python(), program, folder],
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        env=env,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout.splitlines()[-1])
    assert not answered["smdebug"]
    assert not answered["lightning"]
    outcomes = answered["outcomes"]
    assert [item["status"] for item in outcomes] == [200] * 7 + [400, 400, 415, 406, 200]
    for item in outcomes[7:11]:
        assert list(json.loads(item["text"])) == ["error"]  # and no traceback
        assert item["type"] == "application/json"
    expected = load_model(folder).predict([PHOTO])[0]
    first = json.loads(outcomes[0]["text"])
    assert [entry["label"] for entry in first["top"]] == list(expected.labels)
    assert [entry["probability"] for entry in first["top"]] == pytest.approx(expected.probabilities, abs=1e-5)
    assert len(json.loads(outcomes[1]["text"])["top"]) == 1
    assert len(json.loads(outcomes[2]["text"])["top"]) == 2
    assert json.loads(outcomes[2]["text"])["explanation"]["crop"]["width"] > 0
    assert outcomes[3]["type"].startswith("text/csv")
    assert outcomes[3]["text"].startswith("picture,rank,label")
    assert json.loads(outcomes[5]["text"]) == first == json.loads(outcomes[11]["text"])
    assert "error" in json.loads(outcomes[6]["text"])["predictions"][1]
