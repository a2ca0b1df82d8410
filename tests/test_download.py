"""Downloads over a line that breaks off, from servers that lie, of archives that bite."""

import io
import os
import stat
import threading
import zipfile

import pytest
from helpers import make_tree
from web import serve

from dogbreed import UserError
from dogbreed.data.sources import ArchiveSource
from dogbreed.download import download, extract_zip

CONTENT = os.urandom(3_000_000)


def fetch(site, target, **options):
    return download(f"{site.url}/file", target, wait_s=0.01, **options)


def test_a_whole_file_once(tmp_path):
    seen = []
    with serve({"/file": CONTENT}) as site:
        target = fetch(site, tmp_path / "deep" / "file", progress=lambda done, total: seen.append((done, total)))
        assert target.read_bytes() == CONTENT
        fetch(site, target)
        assert len(site.requests) == 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert {path.name for path in target.parent.iterdir()} == {"file", ".file.lock"}


def test_a_broken_line_is_resumed(tmp_path):
    with serve({"/file": CONTENT}, break_after=700_000) as site:
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT
        starts = [int(wanted[6:-1]) if wanted else 0 for _, _, wanted in site.requests]
    assert starts == [0, 700_000, 1_400_000, 2_100_000, 2_800_000]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path):
    with serve({"/file": CONTENT}, break_after=700_000) as site:
        with pytest.raises(UserError, match=r"cannot be downloaded .*broke off.*1 MB\) is kept"):
            fetch(site, tmp_path / "file", attempts=1)
        site.break_after = None
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT
        assert site.requests[-1][2] == "bytes=700000-"


def test_a_changed_file_is_fetched_anew(tmp_path):
    with serve({"/file": CONTENT}, break_after=700_000) as site:
        with pytest.raises(UserError):
            fetch(site, tmp_path / "file", attempts=1)
        site.break_after, site.etag, site.files["/file"] = None, '"v2"', CONTENT[::-1]
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("behaviour", [{"ranges": False}, {"etag": None}])
def test_a_server_that_cannot_resume_sends_everything_again(tmp_path, behaviour):
    with serve({"/file": CONTENT}, break_after=700_000, **behaviour) as site:
        with pytest.raises(UserError):
            fetch(site, tmp_path / "file", attempts=2)
        site.break_after = None
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT


def test_a_chunked_answer_that_breaks_off_is_no_whole_file(tmp_path):
    with serve({"/file": CONTENT}, chunked=True, break_after=700_000) as site:
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT
        assert len(site.requests) == 5


def test_another_part_than_asked_for_is_not_put_in_its_place(tmp_path):
    with serve({"/file": CONTENT}, break_after=700_000, shift_bytes=1000) as site:
        with pytest.raises(UserError, match="another part than the one asked for|broke off"):
            fetch(site, tmp_path / "file", attempts=2)
        assert not (tmp_path / "file").exists()
        site.break_after = None
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT


def test_a_length_that_is_too_long_is_no_whole_file(tmp_path):
    with serve({"/file": CONTENT}, lie_bytes=1000) as site, pytest.raises(UserError, match="cannot be downloaded"):
        fetch(site, tmp_path / "file", attempts=2)
    assert not (tmp_path / "file").exists()


def test_a_part_that_was_whole_already(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    (tmp_path / "file.part.tag").write_text('"v1"')
    with serve({"/file": CONTENT}) as site:
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(tmp_path):
    with serve({"/file": CONTENT}, failures=2) as site:
        assert fetch(site, tmp_path / "file").read_bytes() == CONTENT
        with pytest.raises(UserError, match="answered 404"):
            download(f"{site.url}/other", tmp_path / "other")
    with pytest.raises(UserError, match="begins with https://"):
        download("file:///etc/passwd", tmp_path / "passwd")
    with pytest.raises(UserError, match="cannot be downloaded .*refused"):
        download("http://127.0.0.1:9/file", tmp_path / "x", attempts=2, wait_s=0.01)


def test_several_at_once_download_once(tmp_path):
    with serve({"/file": CONTENT}, delay=threading.Event()) as site:
        threads = [threading.Thread(target=fetch, args=(site, tmp_path / "file")) for _ in range(4)]
        for thread in threads:
            thread.start()
        site.delay.set()
        for thread in threads:
            thread.join()
        assert len(site.requests) == 1
    assert (tmp_path / "file").read_bytes() == CONTENT


# -- archives ----------------------------------------------------------------


def zipped(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # Without the time of day: these bytes are names of tests, which all processes must agree on.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (zipped({"../evil.txt": b"x"}), "outside its folder"),
        (zipped({"a/../../evil.txt": b"x"}), "outside its folder"),
        (zipped({"/evil.txt": b"x"}), "outside its folder"),
        (zipped({"..\\evil.txt": b"x"}), "outside its folder"),
        (zipped({"C:/evil.txt": b"x"}), "outside its folder"),
        (zipped({}, {"link": "/etc"}), "holds a link"),
        (zipped({"bomb": b"\0" * 5_000_000}), "more than the"),
        (zipped({f"{i}": b"" for i in range(60)}), "60 files, more than"),
        (zipped({"a.txt": b"hello"})[:-20], "damaged archive"),
        (b"<html>sign in to the airport's network</html>", "damaged archive"),
        (zipped({"x" * 300: b"hello"}), "none at all"),
    ],
)
def test_evil_archives_write_nothing_outside(tmp_path, content, match):
    archive, target = tmp_path / "a.zip", tmp_path / "target"
    archive.write_bytes(content)
    target.mkdir()
    with pytest.raises(UserError, match=match):
        extract_zip(archive, target, max_bytes=1_000_000, max_files=50)
    assert {path.name for path in tmp_path.rglob("*")} <= {"a.zip", "target"}


def test_harmless_oddities_are_unpacked(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"./": b"", "./a/b.txt": b"hello", "a\\c.txt": b"there"}))
    (tmp_path / "target").mkdir()
    extract_zip(tmp_path / "a.zip", tmp_path / "target", max_bytes=1000, max_files=5)
    assert {path.name for path in (tmp_path / "target" / "a").iterdir()} == {"b.txt", "c.txt"}


def test_a_member_that_lies_about_its_size_is_not_unpacked_whole(tmp_path):
    honest = zipped({"bomb": b"\0" * 5_000_000})
    # The declared size stands in the local header and in the central directory.
    lying = honest.replace((5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lying != honest
    (tmp_path / "a.zip").write_bytes(lying)
    (tmp_path / "target").mkdir()
    with pytest.raises(UserError, match="damaged archive"):
        extract_zip(tmp_path / "a.zip", tmp_path / "target", max_bytes=1_000_000, max_files=50)
    assert (tmp_path / "target" / "bomb").stat().st_size <= 1000


# -- the source that puts both together --------------------------------------


@pytest.fixture
def archive(tmp_path):
    root = make_tree(tmp_path / "original" / "dogImages", {"train": 3, "valid": 1, "test": 2})
    files = {str(path.relative_to(root.parent)): path.read_bytes() for path in root.rglob("*.jpg")}
    return zipped({**files, "__MACOSX/dogImages/._x": b"x", "dogImages/.DS_Store": b"x"})


def source(site, tmp_path, **options):
    counts = {"train": 9, "valid": 3, "test": 6}
    options = {"subfolder": "dogImages", "expected_counts": counts, "max_bytes": 1_000_000, **options}
    return ArchiveSource(f"{site.url}/a.zip", "dogs", folder=str(tmp_path / "data" / "dogs"), **options)


def test_a_data_set_is_fetched_verified_and_kept(tmp_path, archive):
    with serve({"/a.zip": archive}, break_after=5000) as site:
        root = source(site, tmp_path).prepare()
        assert len(list(root.glob("*/*/*.jpg"))) == 18
        asked = len(site.requests)
        assert source(site, tmp_path).prepare() == root
        assert len(site.requests) == asked
    # The archive itself is not kept: the folder is whole.
    assert {path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")} == {"dogs"}


def test_another_archive_than_expected_leaves_nothing(tmp_path, archive):
    with serve({"/a.zip": archive}) as site:
        with pytest.raises(UserError, match=r"holds \{'train': 9\} pictures, not \{'train': 8\}"):
            source(site, tmp_path, expected_counts={"train": 8}).prepare()
        with pytest.raises(UserError, match="holds no folder other"):
            source(site, tmp_path, subfolder="other").prepare()
        assert not (tmp_path / "data" / "dogs").exists()
        assert source(site, tmp_path).prepare().is_dir()


def test_a_sign_in_page_instead_of_the_archive_is_not_kept(tmp_path, archive):
    with serve({"/a.zip": b"<html>sign in</html>"}) as site:
        with pytest.raises(UserError, match="damaged archive"):
            source(site, tmp_path).prepare()
        site.files["/a.zip"] = archive
        assert source(site, tmp_path).prepare().is_dir()


def test_a_folder_of_ones_own(tmp_path, archive):
    (tmp_path / "data" / "dogs").mkdir(parents=True)
    with serve({"/a.zip": archive}) as site:
        assert source(site, tmp_path).prepare().is_dir()  # an empty folder is filled
        other = tmp_path / "data" / "other"
        other.mkdir()
        (other / "letter.txt").write_text("mine")
        with pytest.raises(
            UserError, match=r"data.source.folder=.*other holds something else .*: choose an empty folder"
        ):
            ArchiveSource(f"{site.url}/a.zip", "dogs", folder=str(other), subfolder="dogImages").prepare()
        assert (other / "letter.txt").read_text() == "mine"
