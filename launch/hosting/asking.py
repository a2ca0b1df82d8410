"""Ask an endpoint about pictures, at once or by way of S3, as it is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from launch.hosting.protocols import EndpointState
from launch.hosting.smoke import read_answer

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints
    from launch.aws.runtime import Reply


class Asker:
    """Asks one endpoint.

    Args:
        service: Where it is.
        state: How it stands.
        top_k: Classes per picture, >= 1.

    Raises:
        UserError: it does not answer, for what is being done with it.
    """

    def __init__(self, service: Endpoints, state: EndpointState, top_k: int) -> None:
        if top_k < 1:
            msg = f"--top-k {top_k} must be at least 1."
            raise UserError(msg)
        if state.status not in ("InService", "Updating", "SystemUpdating", "RollingBack"):
            reason = f" ({' '.join(state.failure.split())})" if state.failure else ""
            msg = f"The endpoint {state.name} does not answer: it is {state.status}{reason}."
            raise UserError(msg)
        self._aws = service.aws
        self._name = state.name
        self._attributes = f"top_k={top_k}"
        self._output = ((state.description.get("AsyncInferenceConfig") or {}).get("OutputConfig") or {}).get(
            "S3OutputPath"
        )

    def ask(self, file: Path) -> dict[str, Any]:
        """Ask about one picture; one that is refused gets its reason instead of a class.

        Raises:
            UserError: the endpoint cannot be asked at all.
        """
        from launch.aws.errors import RefusedError

        try:
            body = file.read_bytes()
        except OSError as error:
            return {"error": f"cannot be read ({error.strerror})"}
        try:
            return read_answer(self._send(body).body)
        except RefusedError as error:
            return {"error": str(error).rstrip(".")}

    def _send(self, body: bytes) -> Reply:
        from launch.aws.runtime import invoke, invoke_async

        if self._output is None:
            return invoke(self._aws, self._name, body, attributes=self._attributes)
        place = f"{self._output.rstrip('/').rpartition('/')[0]}/input"
        return invoke_async(self._aws, self._name, body, place=place, attributes=self._attributes)
