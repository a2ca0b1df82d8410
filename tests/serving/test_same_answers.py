"""Two hundred photographs get the same answers from evaluate, predict and serving, however a model was trained."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import PHOTOS, WEIGHTS

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
    ],
)
def test_the_same_answers(words, photographs, tmp_path):
    run_dir = tmp_path / "run"
    env = os.environ | {"PYTHONPATH": str(TOP)}
    training = [
        *("model=mobilenetv2", f"model.weights={WEIGHTS}", "data=folder", f"data.root={photographs}", "trainer=cpu"),
        *("trainer.max_epochs=2", "data.batch_size=24", "data.num_workers=0", "logger=none", "report=false"),
        *("test_after_fit=true", f"hydra.run.dir={run_dir}"),
    ]
    call([sys.executable, "-m", "dogbreed.train", *training, *words.split()], env, tmp_path)
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
    worst = {"predict": 0.0, "evaluate": 0.0}
    for row, wanted, answer in zip(rows, predicted, served, strict=True):
        found = dict(zip(answer.prediction.labels, answer.prediction.probabilities, strict=True))
        for label, probability in zip(wanted.labels, wanted.probabilities, strict=True):
            worst["predict"] = max(worst["predict"], abs(found[label] - probability))
        worst["evaluate"] = max(worst["evaluate"], abs(found[row["predicted"]] - float(row["probability"])))
        assert answer.prediction.labels[0] == row["predicted"] == wanted.labels[0]
        assert answer.prediction.labels[:5] == wanted.labels[:5]
        assert answer.prediction.unlike_training_data == wanted.unlike_training_data
    print(words, worst)
    assert worst["predict"] < 1e-5
    assert worst["evaluate"] < 1e-5 + 5e-7  # its table has six digits


def call(command, env, folder):
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
