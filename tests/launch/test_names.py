"""Names that the API takes, whatever they are made from."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_helpers import NOW, TOKEN, edited
from launch_requests import operation

from dogbreed import UserError
from launch.names import Places, base_name, job_name, key_of, tuning_name
from launch.settings import LaunchSettings


@given(st.text(max_size=100), st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)))
def test_a_name_is_one_that_the_api_takes_or_a_sentence(base, now):
    pattern = operation().members["TrainingJobName"].metadata["pattern"]
    for make, most in ((job_name, 63), (tuning_name, 32)):
        try:
            name = make(base, now, TOKEN)
        except UserError:
            assert not re.search("[a-zA-Z0-9]", base)
            continue
        assert re.fullmatch(pattern, name, flags=re.ASCII)
        assert len(name) <= most
        assert name.endswith("-9f3a")


def test_long_names_keep_their_time():
    assert job_name("x" * 80, NOW, TOKEN) == f"{'x' * 42}-20261122-130509-9f3a"
    assert len(tuning_name("resnet50-dogimages-and-more", NOW, TOKEN)) == 32


def test_what_a_name_begins_with():
    cfg = edited("model.architecture=vit_small_patch16_224.augreg_in21k")
    assert base_name(LaunchSettings.of(cfg), cfg, {"data": "dogimages"}) == "vit-small-patch16-224-dogimages"
    assert base_name(LaunchSettings.of(cfg), cfg, {}) == "vit-small-patch16-224-data"
    named = edited("launch.name=mine")
    assert base_name(LaunchSettings.of(named), named, {"data": "dogimages"}) == "mine"


def test_addresses():
    places = Places("bucket", "team/dogbreed")
    assert places.code("abc") == "s3://bucket/team/dogbreed/code/abc/sourcedir.tar.gz"
    assert places.data("abc") == "s3://bucket/team/dogbreed/data/abc/"
    job = places.job("n-1")
    assert job.checkpoints == "s3://bucket/team/dogbreed/jobs/n-1/checkpoints/"
    assert job.output == "s3://bucket/team/dogbreed/jobs/n-1/output/"
    assert job.tensorboard.endswith("/jobs/n-1/tensorboard/")
    assert job.debug.endswith("/jobs/n-1/debug/")
    assert key_of(job.output) == ("bucket", "team/dogbreed/jobs/n-1/output/")


@pytest.mark.parametrize("address", ["/folder", "https://bucket/x", "s3://", "s3:/x"])
def test_what_is_no_address(address):
    with pytest.raises(UserError, match="is no place in S3"):
        key_of(address)
