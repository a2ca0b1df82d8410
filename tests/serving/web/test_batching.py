"""The queue between requests and the network, with a real model and threads; faults are put into the network."""

import asyncio
import io
import threading
import time

import pytest
import torch
from PIL import Image

from dogbreed.serving.computing import MAX_FAILURES
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.web.batching import Batcher
from dogbreed.serving.web.monitoring import Monitor
from dogbreed.serving.web.settings import Pace
from dogbreed.serving.web.tickets import FairQueue


class Watched:
    """A predictor that notes its batches, waits when told to, and fails for black pictures."""

    def __init__(self, predictor):
        self.predictor = predictor
        self.batches = []
        self.num_taken = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.view = predictor.view

    def predict_batch(self, views, top_k=5, explain=False):
        self.num_taken += len(views)
        assert self.may_go.wait(20)
        self.batches.append((len(views), top_k, explain))
        if any(int(view.pixels_u8_CSS.max()) < 10 for view in views):
            raise MemoryError("secret")
        return self.predictor.predict_batch(views, top_k, explain)


@pytest.fixture(scope="module")
def predictor(small_model):
    return Predictor.load(small_model, "cpu", 1)


@pytest.fixture
def watched(predictor):
    return Watched(predictor)


def run(watched, body, **pace):
    """Run a coroutine function with a batcher."""

    async def main():
        loop = asyncio.get_running_loop()
        batcher = Batcher(watched, Pace(**pace), Limits(), Monitor(), loop)
        try:
            return await asyncio.wait_for(body(batcher), 30)
        finally:
            watched.may_go.set()
            assert await loop.run_in_executor(None, batcher.close, 10)
            assert batcher.num_admitted == 0

    threads = torch.get_num_threads()
    try:
        return asyncio.run(main())
    finally:
        torch.set_num_threads(threads)


def jpeg(color) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), color).save(buffer, "JPEG")
    return buffer.getvalue()


def several(*bodies) -> tuple[bytes, str]:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + body + b"\r\n" for body in bodies
    )
    return parts + b"--x--\r\n", "multipart/form-data; boundary=x"


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_lone_picture_leaves_at_once_and_what_came_meanwhile_leaves_together(watched):
    async def body(batcher):
        watched.may_go.clear()
        first = batcher.submit(jpeg("red"), "image/jpeg", {})
        await until(lambda: watched.num_taken == 1)
        rest = [batcher.submit(jpeg("blue"), "image/jpeg", {"top_k": str(k)}) for k in (1, 3, 2, 1, 1)]
        await until(lambda: len(batcher._ready) == 5)
        watched.may_go.set()
        outcomes = [(await ticket.future)[0] for ticket in (first, *rest)]
        assert watched.batches == [(1, 5, False), (4, 3, False), (1, 1, False)]
        assert [len(outcome.prediction.labels) for outcome in outcomes] == [5, 1, 3, 2, 1, 1]

    run(watched, body, max_batch=4, num_decoders=1)


def test_a_free_network_waits_for_pictures_in_decoding_and_no_longer_than_it_may(watched):
    async def body(batcher):
        decodes = watched.view
        slow = threading.Event()
        watched.view = lambda picture, limits: (
            slow.wait(20) if len(picture) > 700 else None,
            decodes(picture, limits),
        )[1]
        large = io.BytesIO()
        Image.effect_noise((64, 64), 90).convert("RGB").save(large, "PNG")
        waits = batcher.submit(large.getvalue(), "image/png", {})
        quick = batcher.submit(jpeg("red"), "image/jpeg", {})
        started = time.monotonic()
        await quick.future
        assert 0.9 < time.monotonic() - started < 15  # for the other one, which did not come
        slow.set()
        await waits.future
        started = time.monotonic()
        await batcher.submit(jpeg("red"), "image/jpeg", {}).future
        assert time.monotonic() - started < 0.9  # nothing to wait for

    run(watched, body, max_wait_ms=1000)


def test_lanes_share_what_is_ready(watched):
    async def body(batcher):
        watched.may_go.clear()
        tickets = [batcher.submit(*several(*[jpeg("red")] * 2), {}) for _ in range(8)]
        await until(lambda: len(batcher._ready) + watched.num_taken == 16 and watched.num_taken >= 2)
        watched.may_go.set()
        for ticket in tickets:
            assert len(await ticket.future) == 2
        assert sum(size for size, _, _ in watched.batches) == 16
        assert max(size for size, _, _ in watched.batches) <= 8

    run(watched, body, num_lanes=3, max_batch=8)


def test_requests_take_turns(watched):
    async def body(batcher):
        watched.may_go.clear()
        many = batcher.submit(*several(*[jpeg("red")] * 20), {})
        await until(lambda: len(batcher._ready) + watched.num_taken == 20)
        one = batcher.submit(jpeg("blue"), "image/jpeg", {})
        await until(lambda: len(batcher._ready) + watched.num_taken == 21)
        watched.may_go.set()
        await one.future
        assert not many.future.done()
        assert len(await many.future) == 20

    run(watched, body, max_batch=4)


def test_what_is_to_be_explained_is_computed_apart(watched):
    async def body(batcher):
        watched.may_go.clear()
        batcher.submit(jpeg("red"), "image/jpeg", {})
        await until(lambda: watched.num_taken == 1)
        wishes = ["false", "true", "false", "true"]
        tickets = [batcher.submit(jpeg("red"), "image/jpeg", {"explain": wish}) for wish in wishes]
        await until(lambda: len(batcher._ready) == 4)
        watched.may_go.set()
        outcomes = [(await ticket.future)[0] for ticket in tickets]
        assert [outcome.is_explained for outcome in outcomes] == [False, True, False, True]
        assert sorted(watched.batches[1:]) == [(2, 5, False), (2, 5, True)]

    run(watched, body)


def test_a_batch_fails_only_for_the_picture_that_is_at_fault(watched, caplog):
    async def body(batcher):
        watched.may_go.clear()
        bodies = [jpeg("red"), jpeg("black"), jpeg("blue")]
        together = batcher.submit(*several(*bodies), {})
        alone = [batcher.submit(body, "image/jpeg", {}) for body in bodies]
        await until(lambda: len(batcher._ready) + watched.num_taken == 6)
        watched.may_go.set()
        outcomes = [*await together.future, *[(await ticket.future)[0] for ticket in alone]]
        for outcome, color in zip(outcomes, ("red", "black", "blue") * 2, strict=True):
            if color == "black":
                assert isinstance(outcome, RequestError)
                assert outcome.status == 503
            else:
                assert outcome.prediction.labels
        assert batcher.is_healthy

    run(watched, body)
    assert "MemoryError in" in caplog.text
    assert "secret" not in caplog.text


def test_a_network_that_only_fails_is_ill_until_it_answers_again(watched):
    async def body(batcher):
        for number in range(MAX_FAILURES):
            assert batcher.is_healthy, number
            (outcome,) = await batcher.submit(jpeg("black"), "image/jpeg", {}).future
            assert outcome.status == 503
        assert not batcher.is_healthy
        await batcher.submit(jpeg("red"), "image/jpeg", {}).future
        assert batcher.is_healthy

    run(watched, body)


def test_what_is_beyond_the_bound_is_refused_and_what_leaves_makes_room(watched):
    async def body(batcher):
        watched.may_go.clear()
        tickets = [batcher.submit(jpeg("red"), "image/jpeg", {}) for _ in range(3)]
        assert batcher.has_room()
        with pytest.raises(RequestError) as refused:
            await batcher.submit(*several(jpeg("red"), jpeg("red")), {}).future
        assert refused.value.status == 429
        tickets.append(batcher.submit(jpeg("red"), "image/jpeg", {}))
        assert not batcher.has_room()
        with pytest.raises(RequestError):
            batcher.submit(jpeg("red"), "image/jpeg", {})
        assert batcher.retry_after_s() >= 1
        await until(lambda: len(batcher._ready) == 3)
        batcher.drop(tickets[3])
        batcher.drop(tickets[3])
        assert batcher.has_room()
        watched.may_go.set()
        for ticket in tickets[:3]:
            await ticket.future
        assert not tickets[3].future.done()
        assert sum(size for size, _, _ in watched.batches) == 3  # it was not computed

    run(watched, body, max_queue=4, max_batch=1)


def test_bodies_and_pictures_that_cannot_be_read(watched):
    async def body(batcher):
        with pytest.raises(RequestError) as refused:
            await batcher.submit(b"{", "application/json", {}).future
        assert refused.value.status == 400
        (outcome,) = await batcher.submit(b"no picture", "image/jpeg", {}).future
        assert outcome.status == 400
        watched.view = lambda picture, limits: 1 / 0
        (outcome,) = await batcher.submit(jpeg("red"), "image/jpeg", {}).future
        assert outcome.status == 503

    run(watched, body)


def test_owners_in_line():
    queue = FairQueue()
    for owner, item in (("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)):
        queue.put(owner, item)
    assert queue.first() == "a"
    assert [queue.take() for _ in range(2)] == [("a", 1), ("b", 3)]
    assert queue.take(lambda owner: owner == "a") == ("a", 2)
    queue.drop("a")
    queue.drop("nobody")
    assert len(queue) == 1
    assert [queue.take() for _ in range(2)] == [("c", 5), None]
    assert len(queue) == 0
