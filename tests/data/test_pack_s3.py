"""Packed data sets in a bucket: the same pictures, copied once, and runs that read them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import compose_quick
from packs import SHARD, contents
from PIL import Image

from dogbreed import ImageDataModule, Preprocessing, UserError, fit_run
from dogbreed.data.cache import CacheSettings
from dogbreed.data.cache_entries import entries
from dogbreed.data.pack import read_pack, write_pack
from dogbreed.data.scan import scan_folder
from dogbreed.data.storage import S3Storage, storage_of

BUCKET = "s3://pictures/colours"


# -- what is read ------------------------------------------------------------


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
