"""The four functions that SageMaker's classic inference containers call.

In such a container ``code/inference.py`` says ``from dogbreed.serving.classic import *``. Whoever calls them may give
the model server's context as a last argument, as `sagemaker-inference` does: an error then becomes the answer's status
and one sentence, where the toolkit by itself would answer 500 with a traceback.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from dogbreed.serving.answers import Answer, write_answers, write_error
from dogbreed.serving.errors import RequestError
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.requests import Limits, Request, read_custom_attributes, read_request

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]

LIMITS = Limits()
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


def model_fn(model_dir: str, context: Any = None) -> Predictor:
    """Load the model folder, and warm up.

    Args:
        model_dir: Where the container has unpacked it.
        context: The model server's; it knows which GPU this worker has.
    """
    properties = getattr(context, "system_properties", None) or {}
    gpu = properties.get("gpu_id")
    predictor = Predictor.load(model_dir, "auto" if gpu is None else f"cuda:{gpu}")
    predictor.warm_up([1])
    return predictor


def input_fn(input_data: bytes | bytearray | str, content_type: str, context: Any = None) -> Request | RequestError:
    """Read a request.

    Args:
        input_data: The body; the toolkit has made text of JSON.
        content_type: As it was sent.
        context: Holds the request's headers.

    Returns:
        The request; or what is wrong with it, for `output_fn`, where there is a context.

    Raises:
        RequestError: what is wrong with it, where there is none.
    """
    body = input_data.encode() if isinstance(input_data, str) else bytes(input_data)
    try:
        return read_request(body, content_type or "", _options(context), LIMITS)
    except RequestError as error:
        if context is None:
            raise
        return error


def predict_fn(data: Request | RequestError, model: Predictor) -> tuple[list[Answer | RequestError], bool]:
    """Answer for each picture of a request.

    Args:
        data: From `input_fn`.
        model: From `model_fn`.

    Returns:
        The answers, and whether one picture was sent as such.
    """
    if isinstance(data, RequestError):
        return [data], True
    return model.answer(data, LIMITS), data.is_single


def output_fn(
    prediction: tuple[list[Answer | RequestError], bool], accept: str, context: Any = None
) -> tuple[bytes, str]:
    """Write the answers.

    Args:
        prediction: From `predict_fn`.
        accept: The type that the client wants.
        context: Is told the status of an error.

    Returns:
        A body and its content type.

    Raises:
        RequestError: what is wrong, where there is no context.
    """
    answers, is_single = prediction
    try:
        return write_answers(answers, accept or "", is_single)
    except RequestError as error:
        if context is None:
            raise
        context.set_response_status(code=error.status, phrase=HTTPStatus(error.status).phrase)
        return write_error(error)


def _options(context: Any) -> dict[str, str]:
    processors = getattr(context, "request_processor", None)
    if not processors:
        return {}
    headers = {str(name).lower(): value for name, value in processors[0].get_request_properties().items()}
    value = headers.get(CUSTOM_ATTRIBUTES, "")
    return read_custom_attributes(value.decode("latin-1") if isinstance(value, bytes) else str(value))
