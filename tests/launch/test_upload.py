"""Uploads: nothing is sent twice, nothing is lost, whatever breaks off."""

import hashlib
import os
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from faulty_proxy import DROP, Fault

from dogbreed.errors import UserError
from launch import hashing, upload
from launch.hashing import Listing
from launch.upload import upload_file, upload_folder

AN_HOUR_S = 3600


def fill(folder: Path, count: int = 6) -> Path:
    """Pictures of an hour ago, all different."""
    for number in range(count):
        path = folder / f"class {number % 3}" / f"picture {number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"picture {number} of {folder.name}".encode() * 20)
        age(path)
    return folder


def age(path: Path) -> None:
    then = path.stat().st_mtime - AN_HOUR_S
    os.utime(path, (then, then))


def stored(store, uploaded) -> dict:
    start = len(uploaded.prefix) + 1
    return {found.key[start:]: store.get_bytes(found.key) for found in store.list(f"{uploaded.prefix}/")}


def on_disk(folder: Path) -> dict:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_arrives_as_it_is_and_never_again(faulty_store, store, proxy, tmp_path):
    folder = fill(tmp_path / "photos")

    first = upload_folder(faulty_store, folder, "dogbreed/data")

    assert stored(store, first) == on_disk(folder)
    assert (first.num_files, first.num_sent, first.num_copied) == (6, 6, 0)
    assert first.num_bytes == sum(map(len, on_disk(folder).values()))
    proxy.requests.clear()
    second = upload_folder(faulty_store, folder, "dogbreed/data")
    assert (second.prefix, second.num_sent, second.num_copied) == (first.prefix, 0, 0)
    assert [request.method for request in proxy.requests] == ["HEAD", "GET"]


def test_the_place_is_decided_by_names_and_contents_alone(store, tmp_path):
    one, two, other = fill(tmp_path / "a" / "photos"), fill(tmp_path / "b" / "photos"), fill(tmp_path / "c" / "photos")
    (other / "class 0" / "picture 0.jpg").rename(other / "class 0" / "renamed.jpg")
    with Listing(one) as first, Listing(two) as second, Listing(other) as third:
        assert first.sha256 == second.sha256 != third.sha256

    upload_folder(store, one, "data")
    assert upload_folder(store, two, "data").num_sent == 0


def test_a_new_version_copies_what_the_old_one_had(faulty_store, store, proxy, tmp_path):
    folder = fill(tmp_path / "photos")
    upload_folder(faulty_store, folder, "data")
    (folder / "class 1" / "new.jpg").write_bytes(b"new")
    (folder / "class 0" / "picture 0.jpg").write_bytes(b"other")
    (folder / "class 2" / "picture 2.jpg").rename(folder / "class 0" / "moved here.jpg")

    again = upload_folder(faulty_store, folder, "data")

    assert (again.num_sent, again.num_copied) == (2, 5)
    assert stored(store, again) == on_disk(folder)


def test_what_was_removed_from_the_store_is_sent_again(store, tmp_path):
    folder = fill(tmp_path / "photos")
    first = upload_folder(store, folder, "data")
    for found in list(store.list(f"{first.prefix}/")):  # the marker stays
        store._client.delete_object(Bucket="ours", Key=found.key)

    again = upload_folder(store, folder, "data")

    assert again.num_sent == 6
    assert stored(store, again) == on_disk(folder)


def test_a_half_upload_is_completed(faulty_store, store, proxy, tmp_path):
    folder = fill(tmp_path / "photos", 24)
    proxy.rule = lambda request: Fault(400, "ExpiredToken") if proxy.count("PUT") > 10 else None
    with pytest.raises(UserError, match="have expired: log in anew .* what is done stays done"):
        upload_folder(faulty_store, folder, "data", num_threads=4)
    assert not list(store.list("data/complete/"))
    arrived = {found.key for found in store.list("data/")}
    assert 0 < len(arrived) <= 10
    proxy.rule = lambda request: None
    proxy.requests.clear()

    done = upload_folder(faulty_store, folder, "data")

    assert done.num_sent == 24 - len(arrived)
    assert not {request.path for request in proxy.requests if request.method == "PUT"} & arrived
    assert stored(store, done) == on_disk(folder)
    assert len(list(store.list("data/"))) == 25  # and the marker


@pytest.mark.parametrize("fault", [DROP, Fault(503, "SlowDown")])
def test_every_call_failing_once_loses_and_doubles_nothing(faulty_store, store, proxy, tmp_path, fault):
    folder = fill(tmp_path / "photos", 3)
    proxy.rule = lambda request: fault if request.seen == 0 else None

    done = upload_folder(faulty_store, folder, "data")

    assert done.num_sent == 3
    assert stored(store, done) == on_disk(folder)
    puts = [request.path for request in proxy.requests if request.method == "PUT"]
    assert {puts.count(path) for path in puts} == {2}


def test_a_right_name_with_a_wrong_size_is_sent_again(store, tmp_path):
    folder = fill(tmp_path / "photos")
    with Listing(folder) as listing:
        store.put_bytes(b"half", f"data/{listing.sha256}/class 0/picture 0.jpg")

    done = upload_folder(store, folder, "data")

    assert done.num_sent == 6
    assert stored(store, done) == on_disk(folder)


def test_odd_names_arrive_exactly(store, tmp_path):
    folder = tmp_path / "photos"
    names = ["a b.jpg", "a+b.jpg", "100%.jpg", "%41.jpg", "Köter ñ 犬.jpg", "u\u0308.jpg", "#?&=.jpg", "..two", "-dash"]
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)

    done = upload_folder(store, folder, "data")

    visible = {name: name.encode() for name in names if not name.startswith(".")}
    assert stored(store, done) == visible


def test_hidden_files_stay_and_links_are_followed_once(store, tmp_path):
    folder = fill(tmp_path / "photos", 3)
    (folder / ".DS_Store").write_text("x")
    (folder / "class 0" / "Thumbs.db").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    elsewhere = fill(tmp_path / "elsewhere", 1)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "class 0" / "circle").symlink_to(folder)
    (folder / "file link.jpg").symlink_to(elsewhere / "class 0" / "picture 0.jpg")

    done = upload_folder(store, folder, "data")

    expected = {f"class {number}/picture {number}.jpg" for number in range(3)}
    assert set(stored(store, done)) == expected | {"linked/class 0/picture 0.jpg", "file link.jpg"}


def test_what_cannot_be_uploaded_is_one_sentence(store, tmp_path):
    (tmp_path / "empty" / "nothing").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no files"):
        upload_folder(store, tmp_path / "empty", "data")
    with pytest.raises(UserError, match="is not a folder"):
        upload_folder(store, tmp_path / "missing", "data")
    folder = fill(tmp_path / "photos", 2)
    (folder / "broken.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match="broken.jpg is a link to what does not exist"):
        upload_folder(store, folder, "data")
    (folder / "broken.jpg").unlink()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_text("x")
    with pytest.raises(UserError, match="no UTF-8"):
        upload_folder(store, folder, "data")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody, not even root, can read")
def test_a_file_that_cannot_be_read_is_named(store, tmp_path):
    folder = fill(tmp_path / "photos", 2)
    (folder / "odd.jpg").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"odd.jpg cannot be read \(Input/output error\): change its permissions"):
        upload_folder(store, folder, "data")


class Meddling:
    """A store during whose uploads somebody else works in the folder."""

    def __init__(self, store, meddle):
        self.store, self.meddle, self.bucket = store, meddle, store.bucket

    def __getattr__(self, name):
        return getattr(self.store, name)

    def list(self, prefix):
        self.meddle()
        return self.store.list(prefix)

    def put_file(self, path, key):
        self.store.put_file(path, key)
        self.meddle()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("meddle", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[::-1])])
def test_a_file_that_changes_meanwhile_is_refused(store, tmp_path, monkeypatch, large, meddle):
    folder = fill(tmp_path / "photos", 3)
    victim = folder / "class 1" / "picture 1.jpg"
    before = victim.read_bytes()
    if large:
        monkeypatch.setattr(upload, "SMALL_BYTES", 1)

    with pytest.raises(UserError, match="changed while it was uploaded|vanished while it was uploaded"):
        upload_folder(Meddling(store, lambda: victim.exists() and meddle(victim)), folder, "data", num_threads=1)

    assert not list(store.list("data/complete/"))
    victim.write_bytes(before)
    done = upload_folder(store, folder, "data")
    assert stored(store, done) == on_disk(folder)


def test_known_files_are_not_read_again_but_changed_ones_are(own_cache, tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos", 4)
    with Listing(folder) as listing:
        before = listing.sha256
    read, really_read = [], hashing.hash_file
    monkeypatch.setattr(hashing, "hash_file", lambda path, *rest: read.append(path.name) or really_read(path, *rest))
    with Listing(folder) as listing:
        assert (listing.sha256, read) == (before, [])
    (folder / "class 0" / "picture 0.jpg").write_bytes(b"fresh")
    for _ in range(2):  # changed just now: it may change again within the clock's grain
        with Listing(folder) as listing:
            assert listing.sha256 != before
    assert read == ["picture 0.jpg", "picture 0.jpg"]


@pytest.mark.parametrize("damage", [b"no database at all", b""])
def test_a_damaged_cache_is_made_anew(own_cache, tmp_path, damage):
    folder = fill(tmp_path / "photos", 2)
    with Listing(folder) as listing:
        before = listing.sha256
    (own_cache / "launch" / "hashes.sqlite").write_bytes(damage)
    with Listing(folder) as listing:
        assert listing.sha256 == before
    with sqlite3.connect(own_cache / "launch" / "hashes.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM hashes").fetchone() == (2,)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(own_cache, tmp_path):
    class Sink:
        bucket = "sink"

        def exists(self, key):
            return False

        def list(self, prefix):
            return iter(())

        def put_bytes(self, data, key):
            pass

    peaks = []
    for count in (1000, 20_000):
        folder = tmp_path / f"photos {count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.jpg").write_bytes(b"%d of %d" % (number, count))
        tracemalloc.start()
        assert upload_folder(Sink(), folder, "data").num_sent == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000  # a listing in memory would be over 10 MB


def test_one_file_is_sent_once(faulty_store, store, proxy, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()

    first = upload_file(faulty_store, tmp_path / "weights.safetensors", "dogbreed/weights")
    second = upload_file(faulty_store, tmp_path / "weights.safetensors", "dogbreed/weights")

    assert first.key == second.key == f"dogbreed/weights/{digest}/weights.safetensors"
    assert (first.was_sent, second.was_sent, proxy.count("PUT")) == (True, False, 1)
    assert store.get_bytes(first.key) == b"weights"
    named = upload_file(store, tmp_path / "weights.safetensors", "code", sha256="abc")
    assert named.key == "code/abc/weights.safetensors"
    with pytest.raises(UserError, match="give a file that exists"):
        upload_file(store, tmp_path / "nothing", "code")
