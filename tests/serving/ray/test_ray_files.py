"""Settings of the Ray Serve deployment, and the files that the packed model holds for it: all that needs no Ray."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import dogbreed
from dogbreed import UserError
from dogbreed.machine import num_cpus
from dogbreed.serving.ray.app import _import_path
from dogbreed.serving.ray.files import ray_files
from dogbreed.serving.ray.settings import RaySettings, count_gpus, model_place, read_settings, with_user_config

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

TOP = str(Path(dogbreed.__file__).resolve().parents[1])


def test_config_names_the_application():
    files = ray_files()
    assert set(files) == {"config.yaml", "dogbreed_app.py", "code/requirements.txt"}
    config = yaml.safe_load(files["config.yaml"])
    (application,) = config.pop("applications")
    # http_options would change the container's own port, which its server asks.
    assert not config
    assert application == {"name": "dogbreed", "route_prefix": "/", "import_path": "dogbreed_app:app"}


def test_application_finds_the_code_beside_it(tmp_path):
    """Also where only the archive's root is on the path, as in the container's first releases."""
    package = tmp_path / "code" / "dogbreed" / "serving" / "ray"
    package.mkdir(parents=True)
    (package / "app.py").write_text("def build(folder): return f'built {folder}'\n")
    (tmp_path / "dogbreed_app.py").write_text(ray_files()["dogbreed_app.py"])
    command = [sys.executable, "-S", "-c", "import dogbreed_app; print(dogbreed_app.app)"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.stdout == f"built {tmp_path}\n", done.stderr


def test_workers_are_told_where_the_package_is_that_is_only_on_sys_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/opt/ml/model")
    assert _import_path() == {"PYTHONPATH": f"/opt/ml/model{os.pathsep}{TOP}"}
    monkeypatch.setenv("PYTHONPATH", TOP)
    assert _import_path() == {}


def test_requirements_leave_what_the_container_has():
    lines = ray_files()["code/requirements.txt"].splitlines()
    assert f"timm=={metadata.version('timm')}" in lines
    assert {"torch", "torchvision", "numpy", "huggingface-hub"} <= set(lines)  # without a version: never replaced
    assert not any(line.startswith(("lightning", "hydra", "ray", "torch==")) for line in lines)


def test_nothing_set_follows_from_the_machine():
    settings = read_settings(NO_GPU)
    assert settings == RaySettings(cores=num_cpus())
    assert read_settings({**NO_GPU, "DOGBREED_REPLICAS": "2"}).cores == max(1, num_cpus() // 2)
    assert read_settings({**NO_GPU, "DOGBREED_CORES": "auto", "DOGBREED_MAX_QUEUE": " "}) == settings


def test_gpus_each_have_a_replica():
    four = read_settings({"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert (four.replicas, four.gpus, four.cores) == (4, 1.0, max(1, num_cpus() // 4))
    assert read_settings({"CUDA_VISIBLE_DEVICES": "0", "DOGBREED_GPUS": "0.5"}).replicas == 2
    assert read_settings({"CUDA_VISIBLE_DEVICES": "0", "DOGBREED_GPUS": "0"}).replicas == 1
    assert [count_gpus({"CUDA_VISIBLE_DEVICES": text}) for text in ("", "-1", "0", "0, 1,")] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("MAX_BATCH", "abc", "DOGBREED_MAX_BATCH=abc must be a whole number from 1 to 1,024."),
        ("MAX_BATCH", "0", "DOGBREED_MAX_BATCH=0 must be a whole number from 1 to 1,024."),
        ("MAX_WAIT_MS", "nan", "DOGBREED_MAX_WAIT_MS=nan must be a number from 0 to 10,000."),
        ("REPLICAS", "1.5", "DOGBREED_REPLICAS=1.5 must be a whole number from 1 to 1,024."),
        ("GPUS", "-1", "DOGBREED_GPUS=-1 must be a number from 0 to 64."),
    ],
)
def test_bad_variable(variable, text, sentence):
    with pytest.raises(UserError) as caught:
        read_settings({f"DOGBREED_{variable}": text})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["", "1e3", "1_0", "٣", "-0", "inf", "0x10", "\0", "1 ", "²", "10000.0", "9" * 400])
def test_any_text_is_taken_or_explained(text):
    try:
        settings = read_settings({**NO_GPU, "DOGBREED_MAX_WAIT_MS": text, "DOGBREED_MAX_BODY_BYTES": text})
    except UserError:
        return
    assert 0 <= settings.max_wait_ms <= 10_000
    assert settings.max_body_bytes >= 1


def test_config_counts_more_than_the_environment():
    settings = read_settings({**NO_GPU, "DOGBREED_MAX_BATCH": "8", "DOGBREED_MAX_QUEUE": "9"})
    assert with_user_config(settings, {"max_batch": 4}).max_batch == 4
    assert with_user_config(settings, {"max_batch": 4}).max_queue == 9
    assert with_user_config(settings, None) == settings


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("max_bach", 4, "user_config.max_bach in config.yaml is unknown. Did you mean max_batch"),
        ("max_batch", "x", "user_config.max_batch in config.yaml=x must be a whole number"),
        ("max_batch", 2.5, "user_config.max_batch in config.yaml=2.5 must be a whole number"),
        ("replicas", 2, "user_config.replicas in config.yaml: say it as num_replicas"),
    ],
)
def test_bad_user_config(key, value, sentence):
    with pytest.raises(UserError) as caught:
        with_user_config(RaySettings(), {key: value})
    assert str(caught.value).startswith(sentence)


def test_place_of_the_model():
    assert model_place({}) == "/opt/ml/model"
    assert model_place({"SM_MODEL_DIR": "/a"}) == "/a"
    assert model_place({"SM_MODEL_DIR": "/a", "DOGBREED_MODEL": "/b"}) == "/b"


def test_without_ray_there_is_a_sentence():
    from dogbreed.serving.ray.app import build

    with pytest.raises(UserError, match=r"Ray Serve cannot be imported .*: pip install 'ray\[serve\]'\."):
        build("/nowhere")
