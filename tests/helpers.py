"""Pictures, places and small configurations that tests share."""

import csv
import os
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from dogbreed import compose

SHARED = Path(__file__).resolve().parents[2] / "shared"
PHOTOS = SHARED / "data"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100.tf2_ptq_dequant.safetensors"

COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 40, 40)}

TINY = ("model=timm", "model.architecture=test_resnet", "model.pretrained=false", "model.input_size_px=32")
QUICK = (
    *(*TINY, "trainer=cpu", "trainer.max_epochs=2", "data.batch_size=8", "data.num_workers=0", "logger=none"),
    *("report=false", "pictures=false"),  # which take longer than such a run
)


@dataclass
class Answer:
    code: int
    out: str
    err: str


def once(factory, name, make):
    """Make something once for all processes that share out the tests, which only read it.

    Args:
        factory: pytest's ``tmp_path_factory``.
        name: Of a folder.
        make: Gets that folder, empty; returns what can be pickled.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(made.read_bytes())


def save_picture(path: Path, color, seed: int, size=(48, 40)) -> Path:
    """Write a noisy picture of one colour as a real file."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(color) + rng.normal(0, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_tree(root: Path, counts: dict[str, int]) -> Path:
    """Write an ImageFolder tree of three colours: easy to learn, every file different."""
    seed = 0
    for split, count in counts.items():
        for name, color in COLORS.items():
            for number in range(count):
                seed += 1
                save_picture(root / split / name / f"{name}_{number}.jpg", color, seed)
    return root


def compose_quick(root, *more):
    """Compose a run of seconds on a folder of pictures."""
    return compose([*QUICK, "data=folder", f"data.root='{root}'", *more])


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def compose_hosting(name, *overrides):
    """Compose conf/deploy.yaml or conf/transform.yaml, without Hydra's own node."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from dogbreed import conf_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose(name, list(overrides))
