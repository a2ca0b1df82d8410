"""Packed data sets: the same pictures, in archives of a folder, whatever is missing or broken."""

import io
import json
import re
import shutil
import tarfile

import pytest
import torch
from packs import SHARD, contents

from dogbreed import UserError
from dogbreed.data.decode import decode_image
from dogbreed.data.pack import read_pack, write_pack
from dogbreed.data.scan import scan_folder
from dogbreed.data.storage import FolderStorage, storage_of

# -- what is packed ----------------------------------------------------------


def test_every_picture_is_there_unchanged(tree, packed):
    index = read_pack(FolderStorage(packed))
    whole = scan_folder(tree)
    assert index.class_names == whole.class_names
    assert index.counts() == whole.counts()
    assert contents(index) == contents(whole)
    assert max(file.stat().st_size for file in packed.glob("*.tar")) < 3 * SHARD
    assert len(list(packed.glob("train-*.tar"))) > 1


def test_the_archives_are_webdatasets(packed, tree):
    whole = scan_folder(tree)
    pictures = set()
    for file in packed.glob("valid-*.tar"):
        with tarfile.open(file) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        for key in {name.partition(".")[0] for name in members}:
            pictures.add((members[f"{key}.jpg"], whole.class_names[int(members[f"{key}.cls"])]))
    assert pictures == {item for (split, _), item in contents(whole).items() if split == "valid"}


def test_the_same_pictures_give_the_same_bytes(tree, packed, tmp_path):
    write_pack(scan_folder(tree), FolderStorage(tmp_path), SHARD)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: file.read_bytes() for file in packed.iterdir()
    }


def test_classes_are_mixed_within_an_archive(packed):
    images = read_pack(FolderStorage(packed)).split("train")
    first = images.labels[images.shards_N == 0]
    assert len(first) >= 3
    assert len(set(first.tolist())) > 1


def test_an_interrupted_packing_is_no_pack(tree, tmp_path, monkeypatch):
    class Full(FolderStorage):
        def put(self, file, name):
            if name.startswith("test"):
                raise KeyboardInterrupt
            super().put(file, name)

    with pytest.raises(KeyboardInterrupt):
        write_pack(scan_folder(tree), Full(tmp_path), SHARD)
    with pytest.raises(UserError, match=r"holds no packed data set \(pack\.json\): python -m dogbreed\.pack writes"):
        read_pack(FolderStorage(tmp_path))
    write_pack(scan_folder(tree), FolderStorage(tmp_path), SHARD)  # the same again
    assert contents(read_pack(FolderStorage(tmp_path))) == contents(scan_folder(tree))


# -- what is wrong -----------------------------------------------------------


def test_a_pack_is_not_written_over(tree, packed):
    with pytest.raises(UserError, match="holds a packed data set already: name another place"):
        write_pack(scan_folder(tree), FolderStorage(packed), SHARD)


@pytest.fixture
def copy(packed, tmp_path):
    """A pack that may be damaged."""
    return shutil.copytree(packed, tmp_path / "copy")


def edit(copy, **values):
    about = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps({**about, **values}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda copy: (copy / "pack.json").write_text("{"), "is damaged"),
        (lambda copy: (copy / "pack.json").write_text("{}"), "is damaged"),
        (lambda copy: edit(copy, format=2), r"of another format \(2\)"),
        (lambda copy: edit(copy, index_sha256="0"), r"does not belong to its pack\.json"),
        (lambda copy: (copy / "index.npz").unlink(), r"index\.npz cannot be read \(No such file or directory\)"),
    ],
)
def test_damage_is_told(copy, damage, sentence):
    damage(copy)
    with pytest.raises(UserError, match=sentence) as raised:
        read_pack(FolderStorage(copy))
    assert str(copy) in str(raised.value)


def test_a_missing_archive_is_told(copy):
    index = read_pack(FolderStorage(copy))
    next(copy.glob("valid-*.tar")).unlink()
    with pytest.raises(UserError, match=r"valid-\d+\.tar cannot be read \(No such file or directory\)"):
        contents(index)


def test_an_archive_that_was_cut_is_told(copy):
    archive = next(copy.glob("valid-*.tar"))
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"valid-\d+\.tar is cut short"):
        contents(read_pack(FolderStorage(copy)))


def test_other_classes_are_refused(packed):
    with pytest.raises(UserError, match=r"packed with other classes \(blue, green, red\)"):
        read_pack(FolderStorage(packed), class_names=("cats", "dogs"))


@pytest.mark.parametrize("root", ["gs://bucket/x", "s3://", "https://example.org/x"])
def test_places_that_we_do_not_speak(root):
    with pytest.raises(UserError, match=re.escape(f"{root} is no place that we can read")):
        storage_of(root)


# -- the command -------------------------------------------------------------


def test_the_command(tree, cli, tmp_path):
    answer = cli("pack", tree, "packed", "--shard-mb", "1")
    assert answer.code == 0, answer.err
    assert "packed 24 train / 9 valid / 12 test pictures of 3 classes into 3 files" in answer.out
    assert "python -m dogbreed.train data=streaming data.root=packed" in answer.out
    assert contents(read_pack(FolderStorage(tmp_path / "packed"))) == contents(scan_folder(tree))
    again = cli("pack", tree, "packed")
    assert again.code == 2
    assert again.err.startswith("Error: ")
    assert "holds a packed data set already" in again.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "packed"], r"nowhere is not a folder"),
        (["{tree}", "packed", "--shard-mb", "0"], r"--shard-mb 0\.0 must be at least 1\."),
        (["{tree}", "ftp://host/x"], r"ftp://host/x is no place that we can read"),
        (["{tree}", "/dev/null/packed"], r"cannot be written \(Not a directory\)"),
        (["{tree}", "{tree}"], r"lies within .*, the pictures: name another place for the pack"),
        (["{tree}", "{tree}/packed"], r"lies within .*, the pictures: name another place for the pack"),
    ],
)
def test_wrong_commands(tree, cli, arguments, sentence):
    answer = cli("pack", *(argument.format(tree=tree) for argument in arguments))
    assert answer.code == 2
    assert re.search(sentence, answer.err), answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_pictures_decode_from_their_bytes(packed, tree):
    images = read_pack(FolderStorage(packed)).split("test")
    for n in range(len(images)):
        assert torch.equal(decode_image(images.source(n)), decode_image(tree / images.paths[n]))
        assert io.BytesIO(images.source(n)).read(2) == b"\xff\xd8"
