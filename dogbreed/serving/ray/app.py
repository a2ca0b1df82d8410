"""The Ray Serve application: what Amazon's Ray Serve container runs, or ``serve run`` anywhere else.

    serve run dogbreed.serving.ray.app:build model=runs/NAME

A deployment answers ``/ping``, ``/model`` and ``/invocations``; Amazon's container sends what came to its own
``/invocations`` to ``/``. Nothing heavy is imported here: only replicas load torch and the model.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from dogbreed.model_description import find_model_folder, read_description
from dogbreed.serving.ray.settings import RaySettings, model_place, read_settings

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.requests import Request
    from starlette.responses import Response

    from dogbreed.serving.ray.replica import Replica

NAME = "dogbreed"
# Requests beyond the queue still reach a replica, which refuses them with 429; Ray itself would say 503.
_ROOM_TO_REFUSE = 1000
_HEALTH_PERIOD_S = 10.0
_SHUTDOWN_S = 25.0  # SageMaker kills after 30


class PictureServer:
    """What Ray makes a replica of.

    Args:
        folder: A model folder.
        settings: How it works.
    """

    def __init__(self, folder: str, settings: RaySettings) -> None:
        from dogbreed.serving.ray.replica import Replica

        self._replica: Replica = Replica(folder, settings)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take over ``user_config`` of Ray's config.yaml; Ray calls it at the start and whenever that changes."""
        self._replica.reconfigure(user_config)

    async def check_health(self) -> None:
        """Raise where the model does not answer any more, upon which Ray starts another replica."""
        self._replica.check_health()

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        return await self._replica.answer(request)

    def __del__(self) -> None:
        """End the threads; Ray calls it once running requests are answered."""
        if "_replica" in vars(self):
            self._replica.close()


def build(folder: str | Path | Mapping[str, str] | None = None) -> Application:
    """Make the application.

    Args:
        folder: A run or model folder; ``DOGBREED_MODEL``, ``SM_MODEL_DIR`` or ``/opt/ml/model`` if None. Ray gives
            ``{"model": FOLDER}`` for ``model=FOLDER`` on the command line, or for ``args`` in its config.yaml.

    Returns:
        For ``import_path`` in Ray's config.yaml, or ``serve.run``.

    Raises:
        UserError: no model folder, or a setting that cannot be.
    """
    try:
        from ray import serve
    except ImportError as error:
        msg = f"Ray Serve cannot be imported ({error}): pip install 'ray[serve]'."
        raise UserError(msg) from error
    settings = read_settings(os.environ)
    found = find_model_folder(_folder_of(folder)).absolute()
    read_description(found)
    options: dict[str, Any] = {"num_cpus": settings.cores, "num_gpus": settings.gpus}
    if variables := _import_path():
        options["runtime_env"] = {"env_vars": variables}
    deployment = serve.deployment(
        name=NAME,
        num_replicas=settings.replicas,
        ray_actor_options=options,
        max_ongoing_requests=settings.max_queue + _ROOM_TO_REFUSE,
        max_queued_requests=-1,
        health_check_period_s=_HEALTH_PERIOD_S,
        health_check_timeout_s=_HEALTH_PERIOD_S,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=_SHUTDOWN_S,
    )(PictureServer)
    return deployment.bind(str(found), settings)


def _folder_of(given: str | Path | Mapping[str, str] | None) -> str | Path:
    if not isinstance(given, Mapping):
        return given or model_place(os.environ)
    unknown = sorted(set(given) - {"model"})
    if unknown:
        msg = f"{unknown[0]} is no argument of the application: give model=FOLDER."
        raise UserError(msg)
    return given.get("model") or model_place(os.environ)


def _import_path() -> dict[str, str]:
    """Return what lets Ray's workers find our package where this process knows of it by ``sys.path`` alone.

    The first two releases of Amazon's container do not have ``code/`` in their PYTHONPATH.
    """
    source = str(Path(__file__).resolve().parents[3])
    known = [item for item in os.environ.get("PYTHONPATH", "").split(os.pathsep) if item]
    if source in (*known, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {}
    return {"PYTHONPATH": os.pathsep.join([*known, source])}
