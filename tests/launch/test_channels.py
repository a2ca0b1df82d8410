"""What travels with a job, and how the job finds it."""

import os

import pytest
from launch_helpers import edited

from dogbreed import UserError, compose
from launch.channels import Channel, needs_hub_weights, route
from launch.settings import LaunchSettings


def routed(*values, overrides=(), **more):
    cfg = edited(*values)
    return route(cfg, list(overrides), LaunchSettings.of(cfg), **more)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    (tmp_path / "photos of dogs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos of dogs"


def test_the_sample_needs_nothing():
    routing = routed(overrides=["seed=1"])
    assert (routing.channels, routing.overrides, routing.replaced) == ((), ("seed=1",), {})


def test_a_folder_relative_to_here(photos):
    routing = routed("data.root='photos of dogs'", overrides=["data.root='photos of dogs'", "seed=1"])
    assert routing.channels == (Channel("data", photos, "data.root"),)
    assert routing.overrides == ("seed=1", "data.root=${oc.env:SM_CHANNEL_DATA}")


def test_a_folder_that_a_preset_or_an_experiment_names(photos):
    routing = routed(f"data.root='{photos}'", overrides=["experiment=mine"])
    assert routing.overrides == ("experiment=mine", "data.root=${oc.env:SM_CHANNEL_DATA}")


def test_a_home(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    assert routed("data.root='~/photos of dogs'").channels[0].source == photos


def test_an_address_in_s3_is_a_channel_or_a_stream():
    routing = routed("data.root='s3://bucket/photos'", "launch.input_mode=FastFile")
    assert routing.channels == (Channel("data", "s3://bucket/photos", "data.root", "FastFile"),)
    assert routing.overrides == ("data.root=${oc.env:SM_CHANNEL_DATA}",)
    streamed = routed("data.root='s3://bucket/packed'", "data.packed=true", overrides=["data.root=s3://bucket/packed"])
    assert streamed.channels == ()
    assert streamed.overrides == ("data.root=s3://bucket/packed",)


def test_a_list_of_pictures_brings_its_folder_unless_the_root_is_named(photos):
    (photos / "my list.csv").write_text("path,label\n")
    alone = routed(f"data.manifest='{photos}/my list.csv'")
    assert alone.channels == (Channel("manifest", photos, "data.manifest"),)
    assert alone.overrides == ('data.manifest="${oc.env:SM_CHANNEL_MANIFEST}/my list.csv"',)
    both = routed(f"data.manifest='{photos}/my list.csv'", f"data.root='{photos}'")
    assert [(channel.name, channel.source) for channel in both.channels] == [
        ("data", photos),
        ("manifest", photos / "my list.csv"),
    ]
    remote = routed("data.manifest='s3://bucket/a/list.csv'")
    assert remote.channels[0].source == "s3://bucket/a/"
    assert remote.overrides == ("data.manifest=${oc.env:SM_CHANNEL_MANIFEST}/list.csv",)


@pytest.mark.parametrize("name", ["w.safetensors", 'my ${weights}, "v2" (it\'s).pth', "back\\slash.pth"])
def test_the_job_finds_the_file_under_its_name(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"")
    cfg = edited()
    cfg.model.weights = str(tmp_path / name).replace("${", "\\${")
    routing = route(cfg, [], LaunchSettings.of(cfg))
    assert routing.channels == (Channel("weights", tmp_path / name, "model.weights"),)
    monkeypatch.setenv("SM_CHANNEL_WEIGHTS", "/opt/ml/input/data/weights")
    assert compose(list(routing.overrides)).model.weights == f"/opt/ml/input/data/weights/{name}"


def test_the_job_composes_it(photos, monkeypatch):
    routing = routed(f"data.root='{photos}'", overrides=["data=folder", f"data.root='{photos}'"])
    monkeypatch.setenv("SM_CHANNEL_DATA", "/opt/ml/input/data/data")
    assert compose(list(routing.overrides)).data.root == "/opt/ml/input/data/data"


def test_places_of_this_machine_are_the_jobs_own(photos):
    routing = routed("data.cache=/scratch", "checkpoint_dir=/scratch/c", overrides=["data.cache=/scratch", "seed=1"])
    assert routing.overrides == ("seed=1", "data.cache=auto", "checkpoint_dir=null")
    assert routed("data.cache=none", overrides=["data.cache=none"]).overrides == ("data.cache=none",)


def test_weights_and_libraries_of_a_job_without_a_network(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    file = routed(pretrained=tmp_path / "model.safetensors", wheels=tmp_path)
    assert [channel.name for channel in file.channels] == ["pretrained", "wheels"]
    assert file.overrides == ("model.weights=${oc.env:SM_CHANNEL_PRETRAINED}/model.safetensors",)
    assert routed(pretrained=tmp_path).overrides == ()


def test_who_needs_the_hub():
    assert not needs_hub_weights(edited())  # the drawn sample begins from scratch
    assert needs_hub_weights(edited("data.root=/photos"))
    assert needs_hub_weights(edited("model.pretrained=true"))
    assert not needs_hub_weights(edited("data.root=/photos", "model.pretrained=false"))
    assert not needs_hub_weights(edited("data.root=/photos", "model.weights=/w.pth"))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["data.source=null"], r"No pictures are named: give data\.root=DIR, or data\.manifest=FILE\.csv"),
        (["data.root=/nowhere"], r"data.root=/nowhere is not there: give a folder of this machine, or its address"),
        ([f"data.root='{os.__file__}'"], r"os.py is a file, not a folder: give a folder"),
        (["model.weights=/"], r"model.weights=/ is a folder, not a file: give a file"),
        (["data.root='https://x/y'"], r"https://x/y is no place in S3: give s3://BUCKET/PREFIX"),
        (["data.manifest='s3://bucket'"], r"data.manifest=s3://bucket names a bucket and no file"),
        (["resume=runs/x"], r"resume=runs/x is a run of this machine"),
        (
            ["launch.network_isolation=true", "data.root='s3://b/p'", "data.packed=true"],
            r"data.root=s3://b/p is read while the run trains, which launch.network_isolation=true forbids",
        ),
        (["launch.network_isolation=true", "+data.source.url='https://a/b.zip'"], r"fetch it here first"),
    ],
)
def test_a_path_that_cannot_travel_is_a_sentence(values, match):
    with pytest.raises(UserError, match=match):
        routed(*values)
