"""Packed data sets: the same pictures, from a folder and from S3, whatever is missing, small or broken."""

import io
import json
import re
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import torch
from helpers import compose_quick
from moto.server import ThreadedMotoServer
from PIL import Image

from dogbreed import ImageDataModule, Preprocessing, UserError, fit_run
from dogbreed.data.cache import CacheSettings
from dogbreed.data.cache_entries import entries
from dogbreed.data.decode import decode_image
from dogbreed.data.pack import read_pack, write_pack
from dogbreed.data.scan import scan_folder
from dogbreed.data.storage import FolderStorage, S3Storage, storage_of

SHARD = 12_000  # a few pictures each
BUCKET = "s3://pictures/colours"


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory):
    """The coloured pictures, packed into a folder."""
    folder = tmp_path_factory.mktemp("packed")
    write_pack(scan_folder(tree), FolderStorage(folder), SHARD)
    return folder


@pytest.fixture(scope="module")
def aws():
    """An S3 of our own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(aws, monkeypatch, packed):
    """The same pack in a bucket; its objects may be taken away."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="pictures")
    for file in packed.iterdir():
        client.upload_file(str(file), "pictures", f"colours/{file.name}")
    yield client
    for item in client.list_objects_v2(Bucket="pictures").get("Contents", []):
        client.delete_object(Bucket="pictures", Key=item["Key"])
    client.delete_bucket(Bucket="pictures")


def contents(index):
    """Every picture's bytes and class, by split and name."""
    return {
        (split, images.paths[n]): (source_bytes(images.source(n)), index.class_names[images.labels[n]])
        for split, images in index.splits.items()
        for n in range(len(images))
    }


def source_bytes(source):
    return source if isinstance(source, bytes) else source.read_bytes()


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


# -- S3 ----------------------------------------------------------------------


def test_a_bucket_gives_the_same_pictures(s3, tree, tmp_path):
    settings = CacheSettings(tmp_path / "cache")
    index = read_pack(storage_of(BUCKET), settings)
    assert contents(index) == contents(scan_folder(tree))
    assert [entry.root for entry in entries(settings.folder)] == [BUCKET]
    for item in s3.list_objects_v2(Bucket="pictures")["Contents"]:
        if item["Key"].endswith(".tar"):
            s3.delete_object(Bucket="pictures", Key=item["Key"])
    again = read_pack(storage_of(f"{BUCKET}/"), settings)
    assert contents(again) == contents(scan_folder(tree))  # from the copies


def test_without_copies_each_picture_is_read_by_itself(s3, tree, tmp_path):
    index = read_pack(storage_of(BUCKET))
    assert contents(index) == contents(scan_folder(tree))
    assert not list(tmp_path.iterdir())


def test_copies_stay_below_their_cap(s3, tree, tmp_path):
    settings = CacheSettings(tmp_path / "cache", max_bytes=3 * SHARD)
    index = read_pack(storage_of(BUCKET), settings)
    assert contents(index) == contents(scan_folder(tree))
    held = sum(file.stat().st_size for file in settings.folder.rglob("*.tar"))
    assert 0 < held <= settings.max_bytes


def test_several_that_ask_at_once_fetch_once(s3, tmp_path, monkeypatch):
    fetched = []
    real = S3Storage.fetch
    monkeypatch.setattr(S3Storage, "fetch", lambda self, name, target: (fetched.append(name), real(self, name, target)))
    settings = CacheSettings(tmp_path / "cache")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: contents(read_pack(storage_of(BUCKET), settings)), range(4)))
    assert found[0] == found[1] == found[2] == found[3]
    assert sorted(fetched) == sorted(set(fetched))


def test_half_a_copy_is_fetched_again(s3, tree, tmp_path):
    settings = CacheSettings(tmp_path / "cache")
    contents(read_pack(storage_of(BUCKET), settings))
    archive = next(settings.folder.rglob("train-*.tar"))
    archive.write_bytes(archive.read_bytes()[:1000])
    assert contents(read_pack(storage_of(BUCKET), settings)) == contents(scan_folder(tree))


def test_another_pack_at_the_same_place_has_other_copies(s3, tree, tmp_path):
    """Of two pictures of equal size, each takes the other's place: no size in the pack is another."""
    settings = CacheSettings(tmp_path / "cache")
    for root in ("here", "there"):
        for name, color in (("a", 60), ("b", 200)) if root == "here" else (("a", 200), ("b", 60)):
            for number in range(2):
                file = tmp_path / root / "train" / name / f"{number}.bmp"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (color, number, 0)).save(file)
        write_pack(scan_folder(tmp_path / root), storage_of("s3://pictures/twice"))
        assert contents(read_pack(storage_of("s3://pictures/twice"), settings)) == contents(
            scan_folder(tmp_path / root)
        )
        s3.delete_object(Bucket="pictures", Key="twice/pack.json")


def test_packing_into_a_bucket(s3, tree):
    storage = storage_of("s3://pictures/other/place")
    write_pack(scan_folder(tree), storage, SHARD)
    assert contents(read_pack(storage)) == contents(scan_folder(tree))


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("s3://no-such-bucket/x", r"s3://no-such-bucket/x/pack\.json cannot be reached .*: check bucket and prefix"),
        ("s3://pictures/x", r"s3://pictures/x holds no packed data set"),
    ],
)
def test_what_is_not_in_the_bucket_is_told(s3, root, sentence):
    with pytest.raises(UserError, match=sentence):
        read_pack(storage_of(root))


def test_nobody_says_who_we_are(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match=r"cannot be reached \(Unable to locate credentials\): set AWS_PROFILE, or"):
        read_pack(storage_of(BUCKET))


# -- training ----------------------------------------------------------------


def loaded(data):
    data.setup("fit")
    return [batch for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]


def test_processes_that_load_see_the_same(s3, packed, tmp_path):
    def module(root, workers):
        return ImageDataModule(root, preprocessing=Preprocessing(32, 36), batch_size=4, num_workers=workers,
                               cache=tmp_path / "cache", shuffle_window=6)  # fmt: skip

    near, far = loaded(module(packed, 0)), loaded(module(BUCKET, 2))
    assert len(near) == len(far) == 6 + 3
    for ours, theirs in zip(near, far, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)


def test_a_run_on_packed_pictures(packed, tree, tmp_path):
    run = fit_run(compose_quick(packed, "trainer.max_epochs=4"), tmp_path / "run")
    assert run.metrics["test/acc_top1"] > 0.8
    assert (run.model_dir / "example.jpg").is_file()
    files = {line.split(",")[1] for line in (run.run_dir / "predictions.csv").read_text().splitlines()[1:]}
    assert files == {str(path) for split in ("valid", "test") for path in scan_folder(tree).split(split).paths}


def test_a_run_in_a_bucket_goes_on_where_it_was(s3, tmp_path):
    def run(name):
        cfg = compose_quick(
            BUCKET,
            "data=streaming",
            f"data.cache={tmp_path / 'cache'}",
            "data.shuffle_window=8",
            "+callbacks.ctrl_c._target_=rank_callbacks.CtrlC",
            f"+callbacks.ctrl_c.file={tmp_path / name}.pressed",
        )
        return fit_run(cfg, tmp_path / name)

    (tmp_path / "whole.pressed").touch()
    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("halves")
    halves = run("halves")
    for name in ("train/loss", "val/loss", "test/loss"):
        assert halves.metrics[name] == whole.metrics[name]


def test_a_folder_of_pictures_is_no_pack(tree, tmp_path):
    with pytest.raises(UserError, match=r"colours holds no packed data set \(pack\.json\): python -m dogbreed\.pack"):
        fit_run(compose_quick(tree, "data=streaming"), tmp_path / "run")


def test_balanced_sampling_is_refused(packed):
    with pytest.raises(UserError, match="a packed data set is read in turn: use uniform"):
        ImageDataModule(packed, sampling="balanced")


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
        (["{tree}", "{tree}/train/red/red_0.jpg/packed"], r"cannot be written \(Not a directory\)"),
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
