"""Jobs to try: bundles, requests, and the toolkit's environment where the tests keep it."""

import json
import os
import tarfile
import zipfile
from pathlib import Path

from side_environment import CACHE

from launch.overrides import to_hyperparameters
from launch.toolkit.environment import toolkit_python

TOP = Path(__file__).resolve().parents[1]
ENTRY = 'from launch.container.entry import main\n\nif __name__ == "__main__":\n    main()\n'
# What the container lacks; all of it is here.
LIBRARIES = ("hydra-core", "lightning", "simplejpeg", "timm", "omegaconf", "tensorboard")


def toolkit():
    """Return the interpreter of the toolkit, from the user's own cache: it is fetched once, not once a session."""
    python = toolkit_python(print, CACHE / "dogbreed" / "toolkit")
    ours = Path(os.environ["DOGBREED_CACHE"]) / "toolkit"
    ours.parent.mkdir(parents=True, exist_ok=True)
    if not ours.exists():
        ours.symlink_to(python.parents[2])  # for code that asks for it itself
    return python


def write_bundle(file: Path, *, requirements=LIBRARIES, more=()) -> Path:
    """Write a sourcedir.tar.gz of what a job needs of this checkout."""
    pins = (line.strip() for line in (TOP / "constraints.txt").read_text().splitlines() if "==" in line)
    texts = {"sm_entry.py": ENTRY, **dict(more)}
    if requirements:
        texts["requirements.txt"] = "".join(f"{pin}\n" for pin in pins if pin.partition("==")[0] in requirements)
    folder = file.parent / f"{file.name}.texts"
    folder.mkdir()
    with tarfile.open(file, "w:gz") as stream:
        for name in ("dogbreed", "conf", "launch/__init__.py", "launch/overrides.py", "launch/container"):
            stream.add(TOP / name, name, filter=lambda item: None if "__pycache__" in item.name else item)
        for number, (name, text) in enumerate(texts.items()):
            (folder / str(number)).write_text(text)
            stream.add(folder / str(number), name)
    return file


def request_of(overrides, bundle, *, channels=("data",), count=1, torchrun=False, **more):
    """Build what CreateTrainingJob would get, as far as a machine sees it."""
    toolkits = {
        "sagemaker_program": "sm_entry.py",
        "sagemaker_submit_directory": str(bundle),
        "sagemaker_container_log_level": 20,
        "sagemaker_region": "eu-west-1",
        "sagemaker_job_name": "try",
        **({"sagemaker_torch_distributed_enabled": True} if torchrun else {}),
    }
    return {
        "TrainingJobName": "try",
        "HyperParameters": {
            **to_hyperparameters(overrides),
            **{name: json.dumps(value) for name, value in toolkits.items()},
            "dogbreed_revision": json.dumps("abc"),
        },
        "InputDataConfig": [{"ChannelName": name, "InputMode": "File"} for name in channels],
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5},
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
        **more,
    }


def make_wheel(folder, name, version, *, needs=None):
    """Write a wheel by hand: a zip of a module and three small files."""
    info = f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    files = {
        f"{name}.py": "VALUE = 1\n",
        f"{info}/METADATA": about,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    file = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for inner, text in files.items():
            wheel.writestr(inner, text)
    return file
