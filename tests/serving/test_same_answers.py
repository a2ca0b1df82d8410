"""Two hundred photographs get the same answers from evaluate, predict, HTTP and ONNX, however a model was trained."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from helpers import PHOTOS, WEIGHTS
from servers import serving
from side_environment import NEW_PROTOBUF, side_python

from dogbreed.model_folder import load_model
from dogbreed.serving.predictor import Predictor

TOP = Path(__file__).resolve().parents[2]
PER_CLASS = {"train": 6, "valid": 4, "test": 10}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twenty breeds, a few pictures of each."""
    root = tmp_path_factory.mktemp("photographs") / "dogs"
    for split, count in PER_CLASS.items():
        for folder in sorted((PHOTOS / "dogs-small" / split).iterdir()):
            target = root / split / folder.name
            target.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, target)
    return root


@pytest.mark.slow
@pytest.mark.photos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "words",
    [
        "finetune=head",
        "finetune=full",
        "finetune=head_then_full",
        "finetune=discriminative",
        "finetune=layer_decay",
        "finetune=full finetune.batchnorm=train",
        "finetune=full diagnose/hook=smdebug",
    ],
)
def test_the_same_answers(words, photographs, tmp_path):
    run_dir = tmp_path / "run"
    # The hook is where it trains, and nowhere else: evaluation and serving run without smdebug.
    trainer = side_python(NEW_PROTOBUF) if "smdebug" in words else sys.executable
    env = os.environ | {"PYTHONPATH": f"{TOP}{os.pathsep}{TOP / 'plugins'}"}
    training = [
        *("model=mobilenetv2", f"model.weights={WEIGHTS}", "data=folder", f"data.root={photographs}", "trainer=cpu"),
        *("trainer.max_epochs=2", "data.batch_size=24", "data.num_workers=0", "logger=none", "report=false"),
        *("test_after_fit=true", f"hydra.run.dir={run_dir}"),
    ]
    call([trainer, "-m", "dogbreed.train", *training, *words.split()], env, tmp_path)
    call([sys.executable, "-m", "dogbreed.evaluate", f"run={run_dir}", "split=test"], env, tmp_path)
    (evaluation,) = (run_dir / "evaluations").iterdir()
    with (evaluation / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 200
    files = [photographs / row["file"] for row in rows]

    predicted = load_model(run_dir).predict(files, top_k=20)
    predictor = Predictor.load(run_dir, "cpu")
    assert "52 folded layers, 52 packed" in predictor.describe()["engine"]
    sizes = [1, 2, 3, 5, 8, 16, 33, 132]  # as they come in
    served = []
    for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        views = [predictor.view(file.read_bytes()) for file in files[start : start + size]]
        served += predictor.predict_batch(views, top_k=20)
    others = {
        "onnx": through_onnx(run_dir, predictor, files, env, tmp_path),
        "http": through_http(run_dir, files, tmp_path),
    }
    worst = dict.fromkeys(("predict", "evaluate", *others), 0.0)
    for number, (row, wanted, answer) in enumerate(zip(rows, predicted, served, strict=True)):
        found = dict(zip(answer.prediction.labels, answer.prediction.probabilities, strict=True))
        theirs = {name: answers[number] for name, answers in others.items()}
        theirs["predict"] = dict(zip(wanted.labels, wanted.probabilities, strict=True))
        theirs["evaluate"] = {row["predicted"]: float(row["probability"])}
        for name, probabilities in theirs.items():
            assert next(iter(probabilities)) == answer.prediction.labels[0], name
            difference = max(abs(found[label] - probability) for label, probability in probabilities.items())
            worst[name] = max(worst[name], difference)
        assert answer.prediction.labels[:5] == wanted.labels[:5]
        assert answer.prediction.unlike_training_data == wanted.unlike_training_data
    print(words, worst)
    assert worst.pop("evaluate") < 1e-5 + 5e-7  # its table has six digits
    assert max(worst.values()) < 1e-5


def through_onnx(run_dir, predictor, files, env, folder):
    """Answer with an exported file; probabilities by label, the largest first."""
    place = folder / "model.onnx"
    call(
        [sys.executable, "-m", "dogbreed.export", str(run_dir), "--format", "onnx", "--output", str(place)], env, folder
    )
    session = onnxruntime.InferenceSession(place)
    pixels = [predictor.view(file.read_bytes()).pixels_u8_CSS.permute(1, 2, 0).numpy() for file in files]
    answers = session.run(["probabilities"], {"pixels": np.stack(pixels)})[0]
    return [{predictor.class_names[k]: float(row[k]) for k in np.argsort(-row)} for row in answers]


def through_http(run_dir, files, folder):
    """Answer with a real server; probabilities by label, the largest first."""
    with serving(run_dir, folder) as server:
        answers = [server.invoke(file.read_bytes(), query="?top_k=20") for file in files]
    assert {status for status, _ in answers} == {200}
    return [{item["label"]: item["probability"] for item in answer["top"]} for _, answer in answers]


def call(command, env, folder):
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
