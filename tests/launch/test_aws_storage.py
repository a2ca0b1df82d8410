"""A bucket: what is written is what is read, whatever happens on the way."""

import os

import pytest
from faulty_proxy import DROP, HALF, Fault

from dogbreed.errors import UserError
from launch.aws import session, storage
from launch.aws.errors import GoneError
from launch.aws.storage import S3Store
from launch.protocols import StoredObject

ODD = ["plain.txt", "a b+c%20d&e=f?.txt", "Übermut/Köter – ñ 犬.jpg", "quote'\"<>.txt"]


@pytest.mark.parametrize("name", ODD)
def test_small_objects_come_back_under_odd_names(store, name):
    store.put_bytes(b"content", f"in/{name}")

    assert store.get_bytes(f"in/{name}") == b"content"
    assert store.exists(f"in/{name}")
    assert list(store.list("in/")) == [StoredObject(f"in/{name}", 7)]
    store.copy(f"in/{name}", f"copy of/{name}")
    assert store.get_bytes(f"copy of/{name}") == b"content"


def test_a_line_break_in_a_name_is_sent_as_it_is(faulty_store, proxy):
    with pytest.raises(GoneError):  # moto's routes end at a line break; S3's keys do not
        faulty_store.put_bytes(b"x", "line\nbreak.txt")

    assert [request.path for request in proxy.requests] == ["/ours/line%0Abreak.txt"]


@pytest.fixture
def small_parts(monkeypatch):
    """Parts as small as S3 takes them."""
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    return 5 << 20


def test_large_files_travel_in_parts(store, tmp_path, small_parts):
    data = os.urandom(small_parts + 1_000_000)
    (tmp_path / "large").write_bytes(data)

    store.put_file(tmp_path / "large", "large")
    store.get_file("large", tmp_path / "deep" / "back")

    assert (tmp_path / "deep" / "back").read_bytes() == data
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["back"]


def test_what_is_not_there(store, tmp_path):
    assert not store.exists("nothing")
    assert list(store.list("nothing")) == []
    with pytest.raises(GoneError, match="Reading s3://ours/nothing failed: it is not there"):
        store.get_bytes("nothing")
    with pytest.raises(GoneError):
        store.copy("nothing", "something")
    with pytest.raises(UserError, match="vanished while it was uploaded"):
        store.put_file(tmp_path / "nothing", "nothing")
    with pytest.raises(GoneError):
        store.get_file("nothing", tmp_path / "nothing")
    assert not list(tmp_path.glob("*nothing*"))


def test_listing_goes_page_by_page(store):
    for number in range(12):
        store.put_bytes(b"x", f"many/{number:02}")
    store._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 5}
    )

    assert [found.key for found in store.list("many/")] == [f"many/{number:02}" for number in range(12)]


def test_a_broken_put_is_sent_again(faulty_store, store, proxy, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    proxy.rule = lambda request: DROP if request.method == "PUT" and request.seen == 0 else None

    faulty_store.put_file(tmp_path / "file", "file")

    assert store.get_bytes("file") == (tmp_path / "file").read_bytes()
    assert proxy.count("PUT") == 2


def test_a_broken_part_is_sent_again_alone(faulty_store, store, proxy, tmp_path, small_parts):
    data = os.urandom(small_parts + 5)
    (tmp_path / "file").write_bytes(data)
    proxy.rule = lambda request: DROP if "partNumber=2" in request.path and request.seen == 0 else None

    faulty_store.put_file(tmp_path / "file", "file")

    assert store.get_bytes("file") == data
    assert proxy.count("PUT", "partNumber=1") == 1
    assert proxy.count("PUT", "partNumber=2") == 2


def test_reading_goes_on_where_it_broke_off(faulty_store, store, proxy, tmp_path):
    data = os.urandom(3_000_000)
    store.put_bytes(data, "file")
    proxy.rule = lambda request: HALF if request.method == "GET" and request.seen < 2 else None

    faulty_store.get_file("file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == data
    assert [request.headers.get("Range") for request in proxy.requests] == [None, "bytes=1500000-", "bytes=2250000-"]


def test_throttling_of_every_call_is_waited_for(faulty_store, store, proxy, tmp_path):
    proxy.rule = lambda request: Fault(503, "SlowDown") if request.seen == 0 else None

    faulty_store.put_bytes(b"x", "key")

    assert faulty_store.exists("key")
    assert faulty_store.get_bytes("key") == b"x"
    assert [found.key for found in faulty_store.list("")] == ["key"]
    assert len(proxy.requests) == 8


def test_throttling_without_end_is_one_sentence(store, proxy, monkeypatch):
    monkeypatch.setattr(session, "MAX_ATTEMPTS", 2)
    through = S3Store(session.connect(_settings()), "ours")
    proxy.rule = lambda request: Fault(503, "SlowDown")

    with pytest.raises(UserError, match="refused it 2 times as too many requests .SlowDown.: wait a minute"):
        through.put_bytes(b"x", "key")


def test_the_network_gone_is_one_sentence(store, monkeypatch):
    monkeypatch.setattr(session, "MAX_ATTEMPTS", 1)
    aws = session.connect(_settings())
    through = S3Store(aws, "ours")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    gone = session.connect(_settings())
    gone.__dict__["identity"] = aws.identity

    with pytest.raises(UserError, match="cannot be reached .*check the network"):
        S3Store(gone, "ours").put_bytes(b"x", "key")
    through.put_bytes(b"x", "key")


def test_every_request_says_whose_bucket_it_is(faulty_store, proxy, tmp_path, small_parts):
    """Moto does not compare; S3 refuses a bucket that has changed hands."""
    (tmp_path / "large").write_bytes(bytes(small_parts + 1))

    faulty_store.put_file(tmp_path / "large", "large")
    faulty_store.copy("large", "copy")
    faulty_store.get_bytes("large")
    list(faulty_store.list(""))

    assert len(proxy.requests) >= 8
    assert {request.headers.get("x-amz-expected-bucket-owner") for request in proxy.requests} == {"123456789012"}
    proxy.rule = lambda request: Fault(403, "AccessDenied")
    with pytest.raises(UserError, match="s3:GetObject is not permitted"):
        faulty_store.get_bytes("copy")


def _settings():
    from launch.settings import LaunchSettings

    return LaunchSettings()
