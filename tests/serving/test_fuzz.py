"""Whatever is sent: an answer or a reason, and no memory kept."""

import base64
import gc
import itertools
import json
import random
import warnings
from pathlib import Path

import pytest
from fuzzing import cases, mutate, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import save_tiny

from dogbreed.serving.answers import choose_type, write_answers
from dogbreed.serving.errors import RequestError
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.requests import Limits, read_request

WHOLE = seeds()
LIMITS = Limits(max_body_bytes=1_000_000, max_pixels=1_000_000, max_pictures=4)
ALLOWED = {400, 406, 413, 415}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.load(save_tiny(tmp_path_factory.mktemp("served") / "model"), "cpu", num_threads=1)


def send(predictor, body, content_type, options=None, accept="") -> int:
    """Send a request all the way; returns its status. Nothing but a `RequestError` may come."""
    try:
        request = read_request(body, content_type, options or {}, LIMITS)
        answers = predictor.answer(request, LIMITS)
        json.loads(write_answers(answers, "", request.is_single)[0])
        choose_type(accept)
    except RequestError as error:
        refused, status = [error], error.status
    else:
        refused, status = [answer for answer in answers if isinstance(answer, RequestError)], 200
    for error in refused:
        assert error.status in ALLOWED
        assert 10 < len(error.sentence) < 300
        assert error.sentence.isprintable()
    return status


def resident_kilobytes() -> int:
    gc.collect()
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


def run(predictor, count: int, seed: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow has words for damaged metadata
        for body, content_type in itertools.islice(cases(seed), count):
            status = send(predictor, body, content_type)
            counts[status] = counts.get(status, 0) + 1
    return counts


def test_what_is_damaged_here_was_whole(predictor):
    assert [send(predictor, *seed) for seed in seeds()] == [200] * len(seeds())


def test_a_thousand_damaged_requests(predictor):
    counts = run(predictor, 1000, 0)
    # Neither is all refused at the door, nor all of it harmless.
    assert counts[200] > 150, counts
    assert counts[400] > 150, counts


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_and_memory_stays_flat(predictor):
    run(predictor, 5000, 1)
    before = resident_kilobytes()
    counts = run(predictor, 100_000, 2)
    grown = resident_kilobytes() - before
    print(counts, f"{grown} kB more than after 5,000")
    assert grown < 30_000
    assert min(counts[200], counts[400]) > 15_000


@given(
    st.integers(0, len(WHOLE) - 1),
    st.integers(0, 2**32),
    st.dictionaries(st.sampled_from(["top_k", "explain", "x"]), st.text(max_size=8)),
    st.text(max_size=30),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hypothesis_damages_them_with_wishes_of_its_own(predictor, number, seed, options, accept):
    body, content_type = WHOLE[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        send(predictor, mutate(body, random.Random(seed)), content_type, options, accept)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["image", "images", "instances", "b64", "top_k", "explain", "url"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=200)
def test_any_json_is_refused_in_a_sentence(value):
    with pytest.raises(RequestError) as caught:
        read_request(json.dumps(value).encode(), "application/json", {}, LIMITS)
    assert caught.value.status in ALLOWED


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_in_base64(data):
    request = read_request(
        json.dumps({"image": base64.b64encode(data + b"x").decode()}).encode(), "application/json", {}, LIMITS
    )
    assert request.pictures == (data + b"x",)
