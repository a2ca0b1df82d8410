"""What runs in a replica of the Ray Serve deployment: HTTP in, batches by ``@serve.batch``, HTTP out.

All about pictures and answers is the handler's, which every server shares; here are only the ways between it and Ray.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from dogbreed.serving.answers import Answer, write_answers, write_error
from dogbreed.serving.computing import Pulse, failure, predict_each
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.pictures import View
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.ray.settings import RaySettings, with_user_config
from dogbreed.serving.requests import Request, read_custom_attributes, read_request

T = TypeVar("T")
Outcome = Answer | RequestError
# Ray's own and Amazon's container's names for one thing: the container sends to / what came to its /invocations.
INVOCATIONS = ("/invocations", "/")
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


@dataclass(frozen=True)
class Job:
    """A picture on its way to the network.

    Args:
        view: What the network sees of it.
        wishes: The request that it came with.
    """

    view: View
    wishes: Request


class Gate:
    """Lets pictures through to ``@serve.batch`` while the network is free, and then all that have waited at once.

    Ray forms a batch before it waits for the network: without a gate, a busy replica would put every picture that comes
    into a batch of its own.
    """

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()
        self._num_inside = 0

    def close(self) -> None:
        """Let nobody in until all who are inside have left; called when a batch is begun."""
        if self._num_inside:
            self._opened.clear()

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Wait until the gate is open."""
        while not self._opened.is_set():
            await self._opened.wait()
        self._num_inside += 1
        try:
            yield
        finally:
            self._num_inside -= 1
            if self._num_inside == 0:
                self._opened.set()


class Replica:
    """A model that answers requests, many at once.

    Args:
        folder: A model folder.
        settings: How it works.
    """

    def __init__(self, folder: str, settings: RaySettings) -> None:
        num_threads, has_gpu = _assigned(settings)
        self._predictor = Predictor.load(folder, "cuda" if has_gpu else "cpu", num_threads)
        self._decoders = ThreadPoolExecutor(num_threads, "decode", torch.set_num_threads, (1,))
        self._runner = ThreadPoolExecutor(1, "predict", torch.set_num_threads, (num_threads,))
        self._settings = self._given = settings
        self._gate = Gate()
        self._num_admitted = 0
        self._pulse = Pulse()
        self._batch_sizes: dict[int, int] = {}
        self._set_up()

    def reconfigure(self, user_config: Mapping[str, Any] | None) -> None:
        """Take over ``user_config`` of Ray's config.yaml.

        Raises:
            UserError: an unknown key, or a value that cannot be.
        """
        self._settings = with_user_config(self._given, user_config)
        self._set_up()

    def check_health(self) -> None:
        """Raise where one batch after the other has failed.

        Raises:
            RuntimeError: in which case Ray starts another replica.
        """
        if not self._pulse.is_healthy:
            msg = f"{self._pulse.num_failures} batches in a row could not be computed."
            raise RuntimeError(msg)

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._runner.shutdown(wait=False, cancel_futures=True)

    async def answer(self, http: HttpRequest) -> Response:
        """Answer any request; whatever happens becomes a sentence."""
        try:
            response = await self._route(http)
        except RequestError as error:
            body, content_type = write_error(error)
            response = Response(body, error.status, media_type=content_type)
            if error.status == 429:
                response.headers["Retry-After"] = str(self._pulse.retry_after_s(self._num_admitted))
        except Exception as error:  # noqa: BLE001 -- a bug of ours; the log gets no part of the request
            body, content_type = write_error(failure(error))
            response = Response(body, 503, media_type=content_type)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _route(self, http: HttpRequest) -> Response:
        path, method = http.url.path, http.method
        if path in INVOCATIONS and method == "POST":
            return await self._invoke(http)
        if path == "/ping" and method in ("GET", "HEAD"):
            return JSONResponse({})
        if path == "/model" and method in ("GET", "HEAD"):
            batches = {str(size): count for size, count in sorted(self._batch_sizes.items())}
            return JSONResponse({**self._predictor.describe(), "served_batches": batches})
        if path in (*INVOCATIONS, "/ping", "/model"):
            allowed = "POST" if path in INVOCATIONS else "GET"
            raise RequestError(405, f"{path} takes {allowed}.")
        raise RequestError(404, "There is nothing here: POST pictures to /invocations, GET /ping or /model.")

    async def _invoke(self, http: HttpRequest) -> Response:
        with self._admitted(1) as admit_more:
            body = await self._read_body(http)
            options = {**read_custom_attributes(http.headers.get(ATTRIBUTES, "")), **http.query_params}
            content_type = http.headers.get("content-type", "")
            wanted = await self._decode(read_request, body, content_type, options, self._limits)
            del body
            admit_more(len(wanted.pictures) - 1)
            outcomes = await asyncio.gather(*(self._answer(picture, wanted) for picture in wanted.pictures))
        written, media_type = write_answers(outcomes, http.headers.get("accept", ""), wanted.is_single)
        return Response(written, media_type=media_type)

    async def _read_body(self, http: HttpRequest) -> bytes:
        most = self._settings.max_body_bytes
        length = http.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise RequestError(413, f"The body has {int(length):,} bytes, at most {most:,} are taken.")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.read_timeout_s):
                async for chunk in http.stream():
                    body += chunk
                    if len(body) > most:
                        raise RequestError(413, f"The body has more than {most:,} bytes, which is all that is taken.")
        except TimeoutError:
            msg = f"The body did not arrive within {self._settings.read_timeout_s:g} s: send it faster, or less."
            raise RequestError(408, msg) from None
        except ClientDisconnect:
            raise RequestError(400, "The client has gone.") from None
        return bytes(body)

    async def _answer(self, picture: Any, wishes: Request) -> Outcome:
        try:
            view = await self._decode(self._predictor.view, picture, self._limits)
            async with self._gate.inside():
                return await self._lanes[wishes.explain](Job(view, wishes))
        except RequestError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- of this picture alone
            return failure(error)

    async def _decode(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work, *args)

    @contextmanager
    def _admitted(self, count: int) -> Iterator[Callable[[int], None]]:
        """Count pictures as taken in as long as the block runs; what it gives takes in more."""
        taken = 0

        def admit(more: int) -> None:
            nonlocal taken
            if self._num_admitted + more > self._settings.max_queue:
                msg = f"The server is busy with {self._num_admitted} pictures: try again later."
                raise RequestError(429, msg)
            self._num_admitted += more
            taken += more

        try:
            admit(count)
            yield admit
        finally:
            self._num_admitted -= taken

    def _set_up(self) -> None:
        settings = self._settings
        self._limits = Limits(settings.max_body_bytes, settings.max_pixels, settings.max_pictures)
        self._lanes = {explain: self._make_lane() for explain in (False, True)}
        sizes = {1, settings.max_batch, max(1, settings.max_batch // 2)}
        self._runner.submit(self._predictor.warm_up, sorted(sizes)).result()

    def _make_lane(self) -> Callable[[Job], Awaitable[Outcome]]:
        from ray import serve  # only here: whoever imports this module may lack it

        async def predict(jobs: list[Job]) -> list[Outcome]:
            self._gate.close()
            return await asyncio.get_running_loop().run_in_executor(self._runner, self._predict, jobs)

        batched: Callable[[Job], Awaitable[Outcome]] = serve.batch(
            max_batch_size=self._settings.max_batch, batch_wait_timeout_s=self._settings.max_wait_ms / 1000
        )(predict)
        return batched

    def _predict(self, jobs: list[Job]) -> list[Outcome]:
        started = time.perf_counter()
        outcomes = predict_each(self._predictor, [job.view for job in jobs], [job.wishes for job in jobs])
        self._pulse.beat(outcomes, (time.perf_counter() - started) / len(jobs))
        self._batch_sizes[len(jobs)] = self._batch_sizes.get(len(jobs), 0) + 1
        return outcomes


def _assigned(settings: RaySettings) -> tuple[int, bool]:
    """Return how many cores Ray has given this replica, and whether a GPU: config.yaml may say other than we asked."""
    from ray import get_runtime_context

    resources = get_runtime_context().get_assigned_resources()
    return max(1, int(resources.get("CPU", settings.cores))), resources.get("GPU", 0) > 0
