"""Trees, manifests, splits, and everything that can be wrong with them."""

import csv
import shutil

import numpy as np
import pytest
from helpers import COLORS, make_tree, save_picture
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import UserError
from dogbreed.data import scan
from dogbreed.data.index import PathList
from dogbreed.data.scan import scan_folder, scan_manifest
from dogbreed.data.splits import SplitRule


def members(index, split):
    return sorted(index.split(split).paths)


def counts_of(index, split):
    return np.bincount(index.split(split).labels, minlength=len(index.class_names)).tolist()


def test_a_tree_with_splits(tree):
    index = scan_folder(tree)
    assert index.class_names == ("blue", "green", "red")
    assert index.counts() == {"train": 24, "valid": 9, "test": 12}
    assert counts_of(index, "train") == [8, 8, 8]
    train = index.split("train")
    for i, path in enumerate(train):
        assert path.is_file()
        assert path.parent.name == index.class_names[train.labels[i]]
    assert not index.report.warnings()


def test_a_file_that_was_whole_is_opened_again_once_it_has_changed(tmp_path, monkeypatch):
    make_tree(tmp_path, {"train": 3, "valid": 1})
    opened = []
    look = scan.is_cut_short
    monkeypatch.setattr(scan, "is_cut_short", lambda path: opened.append(path.name) or look(path))
    assert scan_folder(tmp_path).counts()["train"] == 9
    assert len(opened) == 12
    opened.clear()
    victim = tmp_path / "train" / "red" / "red_0.jpg"
    victim.write_bytes(victim.read_bytes()[:-200])
    for _ in range(2):  # what was found wanting is found so every time
        assert scan_folder(tmp_path).report.cut_short == ("train/red/red_0.jpg",)
    assert opened == ["red_0.jpg"] * 2


@pytest.mark.parametrize("alias", ["val", "validation", "Valid"])
def test_names_of_the_validation_split(tmp_path, alias):
    make_tree(tmp_path, {"train": 2, alias: 1, "Test": 1})
    assert scan_folder(tmp_path).counts() == {"train": 6, "valid": 3, "test": 3}


def test_a_missing_validation_split_is_cut_from_train(tmp_path):
    make_tree(tmp_path, {"train": 10, "test": 2})
    index = scan_folder(tmp_path, SplitRule(valid_fraction=0.2))
    assert index.counts() == {"train": 24, "valid": 6, "test": 6}
    assert counts_of(index, "valid") == [2, 2, 2]
    assert "no valid split" in index.report.notes[0]


def test_a_single_tree_is_split_the_same_way_every_time(tmp_path):
    make_tree(tmp_path, {"": 20})
    index = scan_folder(tmp_path)
    assert index.counts() == {"train": 42, "valid": 9, "test": 9}
    assert [counts_of(index, split) for split in index.splits] == [[14] * 3, [3] * 3, [3] * 3]
    assert members(scan_folder(tmp_path), "test") == members(index, "test")
    assert members(scan_folder(tmp_path, SplitRule(seed=1)), "test") != members(index, "test")
    # Another machine, another folder name: the same cut.
    shutil.copytree(tmp_path, tmp_path.parent / "elsewhere")
    assert members(scan_folder(tmp_path.parent / "elsewhere"), "test") == members(index, "test")


def test_identical_files_stay_on_one_side_of_our_cut(tmp_path):
    make_tree(tmp_path, {"": 12})
    for name in COLORS:
        for i in range(12):
            shutil.copy(tmp_path / name / f"{name}_{i}.jpg", tmp_path / name / f"copy_{i}.jpg")
    index = scan_folder(tmp_path)
    split_of = {path: split for split in index.splits for path in index.split(split).paths}
    for name in COLORS:
        for i in range(12):
            assert split_of[f"{name}/{name}_{i}.jpg"] == split_of[f"{name}/copy_{i}.jpg"]
    assert not index.report.leaked


def test_leakage_between_given_splits_is_reported(tmp_path):
    make_tree(tmp_path, {"train": 3, "valid": 2, "test": 2})
    shutil.copy(tmp_path / "train/red/red_0.jpg", tmp_path / "test/red/other_name.jpg")
    shutil.copy(tmp_path / "train/red/red_1.jpg", tmp_path / "train/red/same_split.jpg")
    report = scan_folder(tmp_path).report
    assert [set(group) for group in report.leaked] == [{"train/red/red_0.jpg", "test/red/other_name.jpg"}]
    assert "leakage: 1 identical" in report.warnings()[0]


def test_bad_files_are_listed_and_skipped_or_refused(tmp_path):
    make_tree(tmp_path, {"train": 3, "valid": 1})
    folder = tmp_path / "train/red"
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("hello")
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / ".DS_Store").write_text("x")
    (folder / "Thumbs.db").write_text("x")
    index = scan_folder(tmp_path)
    assert index.counts()["train"] == 9
    assert dict(index.report.bad) == {
        "train/red/empty.jpg": "empty",
        "train/red/notes.txt": "not an image",
        "train/red/page.jpg": "not an image",
    }
    with pytest.raises(UserError, match=r"3 files .*empty\.jpg \(empty\).*data.on_bad_file=skip"):
        scan_folder(tmp_path, on_bad_file="refuse")
    with pytest.raises(UserError, match="use skip or refuse"):
        scan_folder(tmp_path, on_bad_file="ignore")


def test_cut_short_pictures_are_used_and_named(tmp_path):
    make_tree(tmp_path, {"train": 2, "valid": 1})
    file = tmp_path / "train/red/red_0.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    index = scan_folder(tmp_path)
    assert index.report.cut_short == ("train/red/red_0.jpg",)
    assert index.counts()["train"] == 6


def test_names_in_any_script_and_links(tmp_path):
    make_tree(tmp_path, {"train": 2, "valid": 1})
    for split in ("train", "valid"):
        save_picture(tmp_path / split / "柴犬 [a=b]" / "фото №1 {x}.png", (9, 9, 9), hash(split) % 1000)
    elsewhere = tmp_path.parent / "linked"
    save_picture(elsewhere / "deep" / "p.jpg", (1, 2, 3), 5)
    (tmp_path / "train" / "linked").symlink_to(elsewhere)
    index = scan_folder(tmp_path)
    assert "柴犬 [a=b]" in index.class_names
    assert "train/柴犬 [a=b]/фото №1 {x}.png" in index.split("train").paths
    assert "train/linked/deep/p.jpg" in index.split("train").paths


def test_classes_that_miss_in_a_split_are_named(tmp_path):
    make_tree(tmp_path, {"train": 2, "valid": 2, "test": 1})
    shutil.rmtree(tmp_path / "test/green")
    report = scan_folder(tmp_path).report
    assert report.missing_classes == {"test": ("green",)}
    assert "the test split has no picture of 1 class: green." in report.warnings()


def test_wrong_trees(tmp_path):
    with pytest.raises(UserError, match=r"data.root=.*none is not a folder"):
        scan_folder(tmp_path / "none")
    with pytest.raises(UserError, match="No pictures found"):
        scan_folder(tmp_path)
    make_tree(tmp_path / "one", {"train": 2, "valid": 1})
    for name in ("red", "green"):
        shutil.rmtree(tmp_path / "one/train" / name)
        shutil.rmtree(tmp_path / "one/valid" / name)
    with pytest.raises(UserError, match=r"one class only \(blue\)"):
        scan_folder(tmp_path / "one")
    make_tree(tmp_path / "two", {"val": 1, "validation": 1, "train": 1})
    with pytest.raises(UserError, match="both val/ and validation/"):
        scan_folder(tmp_path / "two")
    make_tree(tmp_path / "typo", {"train": 2, "valid": 1})
    (tmp_path / "typo/valid/green").rename(tmp_path / "typo/valid/gren")
    with pytest.raises(UserError, match=r"Label 'gren'.*Did you mean green"):
        scan_folder(tmp_path / "typo")
    make_tree(tmp_path / "untrained", {"test": 1})
    with pytest.raises(UserError, match="no training pictures"):
        scan_folder(tmp_path / "untrained")


def test_given_class_names_need_no_training_pictures(tmp_path):
    make_tree(tmp_path, {"test": 1})
    index = scan_folder(tmp_path, class_names=("red", "green", "blue", "grey"))
    assert index.split("test").labels.tolist() == [2, 1, 0]
    with pytest.raises(UserError, match="Label 'blue'"):
        scan_folder(tmp_path, class_names=("red", "green"))
    everything = scan_folder(tmp_path / "test", SplitRule(everything_in="test"), class_names=("blue", "green", "red"))
    assert everything.counts() == {"test": 3}


# -- manifests ---------------------------------------------------------------


def write_manifest(file, rows, columns=("path", "label", "split")):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    return file


@pytest.fixture
def manifest_rows(tree):
    return [
        (path.relative_to(tree), path.parent.name, path.parent.parent.name) for path in sorted(tree.glob("*/*/*.jpg"))
    ]


def test_a_manifest_equals_its_tree(tree, tmp_path, manifest_rows):
    index = scan_manifest(write_manifest(tmp_path / "m.csv", manifest_rows), root=tree)
    expected = scan_folder(tree)
    assert index.class_names == expected.class_names
    for split in expected.splits:
        assert members(index, split) == members(expected, split)
        assert index.split(split).labels.tolist() == expected.split(split).labels.tolist()


def test_a_manifest_without_splits_is_cut(tree, tmp_path, manifest_rows):
    rows = [row[:2] for row in manifest_rows]
    index = scan_manifest(write_manifest(tmp_path / "m.csv", rows, ("path", "label")), root=tree)
    assert set(index.counts()) == {"train", "valid", "test"}
    assert sum(index.counts().values()) == len(rows)


def test_wrong_manifests(tree, tmp_path, manifest_rows):
    file = tmp_path / "m.csv"

    def fails(match):
        with pytest.raises(UserError, match=match):
            scan_manifest(file, root=tree)

    fails(r"data.manifest=.*m.csv cannot be read")
    write_manifest(file, manifest_rows, ("file", "label", "split"))
    fails("lacks the column path")
    write_manifest(file, [*manifest_rows, ("train/red/red_0.jpg", "red", "dev")])
    fails(r"line 47: split 'dev' is unknown")
    write_manifest(file, [*manifest_rows, ("train/red/red_0.jpg", "", "train")])
    fails(r"line 47: label is empty")
    write_manifest(file, [*manifest_rows[1:], (manifest_rows[0][0], "redd", "valid")])
    fails(r"Label 'redd' .*Did you mean red")
    write_manifest(file, [*manifest_rows[1:], (manifest_rows[0][0], "red", "")])
    fails("has no split although other pictures do")
    # The same picture in two splits is leakage, whatever its path is written like.
    write_manifest(file, [*manifest_rows, ("./train/red/red_0.jpg", "red", "test")])
    fails(r"names .*red_0.jpg twice, in line \d+ and 47, with another label or split")
    write_manifest(file, [*manifest_rows, ("train/red/red_0.jpg", "red", "train")])
    assert sum(scan_manifest(file, root=tree).counts().values()) == len(manifest_rows)
    file.write_bytes(b"path,label\n\xff\xfe\x00,x\n")
    fails("not a CSV in UTF-8")
    write_manifest(file, [("gone.jpg", "red", "train")])
    fails(r"No pictures found in .* \(1 file there without a readable picture\)")


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    import os

    scandir = os.scandir

    def refusing(path="."):
        if str(path).endswith("green"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"green cannot be read \(Permission denied\): change its permissions"):
        scan_folder(tree)


# -- the compact list --------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=30))
def test_path_list_gives_back_what_it_got(paths):
    compact = PathList(paths)
    assert list(compact) == paths
    assert len(compact) == len(paths)
    if paths:
        assert compact[-1] == paths[-1]
    with pytest.raises(IndexError):
        compact[len(paths)]


def test_a_million_files_are_small():
    import pickle

    paths = PathList([f"train/{i % 133:03d}.Breed_name/Breed_name_{i:07d}.jpg" for i in range(100_000)])
    labels = np.zeros(100_000, dtype=np.int32)
    assert len(pickle.dumps((paths, labels))) < 100_000 * 75  # 75 MB a million
