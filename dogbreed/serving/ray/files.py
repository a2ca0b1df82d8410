"""What the packed model holds for Amazon's Ray Serve container, beside the model folder's files and our package.

config.yaml             Ray Serve's own; the container runs it if it is there
dogbreed_app.py         the module that it names
code/requirements.txt   installed when the container starts
code/dogbreed/…         our package
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from dogbreed.errors import UserError

CONFIG_NAME, APP_NAME, REQUIREMENTS_NAME = "config.yaml", "dogbreed_app.py", "code/requirements.txt"
IMPORT_PATH = "dogbreed_app:app"

# What answering imports and the container lacks.
_PINNED = ("python-multipart", "simplejpeg", "timm")
# What it has, of a version that other libraries in it agree with: installed only if a later container lacks it.
_PRESENT = ("filelock", "huggingface-hub", "numpy", "pillow", "safetensors", "torch", "torchvision")

_CONFIG = f"""\
# What Ray Serve runs; Amazon's container finds it here. How it works follows from DOGBREED_… in the environment, or:
#     deployments:
#       - name: dogbreed
#         num_replicas: 2
#         ray_actor_options: {{num_cpus: 2}}
#         user_config: {{max_batch: 32, max_wait_ms: 5}}
applications:
  - name: dogbreed
    route_prefix: /
    import_path: {IMPORT_PATH}
"""

_APP = '''"""What Ray Serve runs; everything is in dogbreed.serving."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if (HERE / "code").is_dir():
    sys.path.insert(0, str(HERE / "code"))

from dogbreed.serving.ray.app import build  # noqa: E402

app = build(HERE)
'''


def ray_files() -> dict[str, str]:
    """Return the files' names in the archive and their texts.

    Raises:
        UserError: a library that the container lacks is not installed here either, so that its version is not known.
    """
    requirements = "".join(f"{line}\n" for line in [*_pins(_PINNED), *_PRESENT])
    return {CONFIG_NAME: _CONFIG, APP_NAME: _APP, REQUIREMENTS_NAME: requirements}


def _pins(names: Iterable[str]) -> list[str]:
    pins = []
    for name in names:
        try:
            pins.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError as error:
            msg = f"{name}, which serving needs, is not installed: pip install 'dogbreed[serve]'."
            raise UserError(msg) from error
    return pins
