"""The launch block: every preset is valid, every wrong value is one sentence that names its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_helpers import edited

from dogbreed import UserError, compose
from dogbreed.config.hashing import config_hash
from launch.settings import LaunchSettings


def settings(*overrides):
    return LaunchSettings.of(edited(*overrides))


def test_the_same_run_has_the_same_hash_apart_from_what_the_preset_binds():
    bound = ["trainer.accelerator=gpu", "trainer.precision=bf16-mixed", "data.micro_batch_size=128"]
    here = config_hash(compose(["model=resnet50", *bound]))
    there = config_hash(compose(["model=resnet50", "launch=a10g", "launch.spot=true", "launch/debugger=smdebug"]))
    assert here == there
    assert config_hash(compose(["model=resnet50", "launch=t4"])) != there


def test_launch_can_be_overridden_by_an_experiment_and_the_command_line():
    cfg = compose(["launch=a10g", "experiment=resnet50_dogs", "trainer.precision=32-true"])
    assert (cfg.trainer.precision, cfg.data.batch_size, cfg.data.micro_batch_size) == ("32-true", 64, 64)


def test_no_launch_is_a_sentence():
    with pytest.raises(UserError, match="launch is not set: choose a machine, for instance launch=a10g"):
        LaunchSettings.of(edited(base=()))


def test_texts_that_look_like_numbers_stay_texts():
    chosen = settings("+launch.environment.OMP_NUM_THREADS=1", "+launch.tags.paid=true", "launch.image_version=2.14")
    assert chosen.environment == {"OMP_NUM_THREADS": "1"}
    assert chosen.tags == {"paid": "true"}
    assert chosen.image_version == "2.14"


def test_waiting():
    assert settings().wait_s is None
    assert settings("launch.spot=true", "launch.max_run_s=100").wait_s == 200
    assert settings("launch.spot=true", "launch.max_run_s=100", "launch.max_wait_s=100").wait_s == 100


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["launch.max_run_s=abc"], r"launch.max_run_s=abc must be a whole number\."),
        (["launch.max_run_s=1.5"], r"launch.max_run_s=1.5 must be a whole number\."),
        (["launch.spot=1"], r"launch.spot=1 must be true or false\."),
        (["launch.region=5"], r"launch.region=5 must be a text or null\."),
        (["launch.tags=x"], r"launch.tags=x must be a mapping\."),
        (["launch.code=x.py"], r"launch.code=x.py must be a list"),
        (["launch.subnets=[1]", "launch.security_groups=[sg-1]"], r"launch.subnets=\[1\] must be a list of texts"),
        (["+launch.max_run=5"], r"launch.max_run does not exist\. Did you mean max_run_s"),
        (["launch.target=azure"], r"launch.target=azure does not exist\. Valid: sagemaker, local\."),
        (["launch.input_mode=Pipe"], r"launch.input_mode=Pipe does not exist\. Valid: File, FastFile\."),
        (["launch.max_run_s=0"], r"launch.max_run_s=0 must be between 1 and 2419200"),
        (["launch.volume_gb=0"], r"launch.volume_gb=0 must be between 1 and 16384"),
        (["launch.instance_count=0"], r"launch.instance_count=0 must be at least 1"),
        (["launch.max_retries=31"], r"launch.max_retries=31 must be between 0 and 30"),
        (["launch.keep_alive_s=21601"], r"launch.keep_alive_s=21601 must be between 0 and 21600"),
        (["launch.max_cost_usd=-1"], r"launch.max_cost_usd=-1 must be at least 0"),
        (["launch.poll_s=0"], r"launch.poll_s=0 must be at least"),
        (["launch.max_concurrent=0"], r"launch.max_concurrent=0 must be at least 1"),
        (["launch.spot=true", "launch.checkpoints=false"], r"spot=true needs launch.checkpoints=true: .* taken away"),
        (["launch.spot=true", "launch.keep_alive_s=60"], r"launch.spot=true has no warm pool"),
        (["launch.max_wait_s=100"], r"launch.max_wait_s=100 is for launch.spot=true"),
        (["launch.spot=true", "launch.max_wait_s=5"], r"max_wait_s=5 .* at least launch.max_run_s=86400"),
        (["launch.subnets=[subnet-1]"], r"launch.subnets is given without launch.security_groups: a VPC needs both"),
        (["launch.security_groups=[sg-1]"], r"launch.security_groups is given without launch.subnets"),
        (["launch.subnets=[a/b]", "launch.security_groups=[sg-1]"], r"holds a/b, which is no id such as subnet-"),
        (["launch.security_groups=[a,b,c,d,e,f]"], r"launch.security_groups names 6, .* at most 5"),
        (["launch.image_version=2.12"], r"launch.image_version=2.12 must be at least 2.13"),
        (["launch.image_version=2.20"], r"launch.image_version=2.2 must be at least 2.13: .* ends with 0 needs quotes"),
        (["launch.image_version=new"], r"launch.image_version=new must be a PyTorch version"),
        (["launch.region=Frankfurt"], r"launch.region=Frankfurt must be a region such as eu-central-1"),
        (["launch.bucket='s3://mine'"], r"launch.bucket=s3://mine must be a bucket's name, without s3://"),
        (["launch.prefix=/x"], r"launch.prefix=/x must be a prefix"),
        (["launch.name=a_b"], r"launch.name=a_b must be letters, digits and single hyphens"),
        (["launch.kms_key='a b'"], r"launch.kms_key=a b must be a KMS key"),
        (["launch.instance_type=null"], r"launch.instance_type must be given: choose launch=a10g"),
        (["launch.target=local", "launch.instance_count=2"], r"instance_count=2: .* this machine, which is one"),
        (["+launch.tags.dogbreed=x"], r"launch.tags.dogbreed is taken"),
        (["+launch.environment.A-B=x"], r"launch.environment.A-B: a variable's name is letters"),
        ([f"+launch.environment.A={'x' * 513}"], r"launch.environment.A must be a text of at most 512"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_its_key(overrides, match):
    with pytest.raises(UserError, match=match) as caught:
        settings(*overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("launch.")


def test_too_many_of_them():
    for key, most in (("tags", 49), ("environment", 100)):
        assert (
            len(getattr(LaunchSettings(instance_type="ml.x.y", **{key: {f"k{n}": "" for n in range(most)}}), key))
            == most
        )
        with pytest.raises(UserError, match=f"launch.{key} has {most + 1}.* at most {most}"):
            LaunchSettings(instance_type="ml.x.y", **{key: {f"k{n}": "" for n in range(most + 1)}})


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_waiting_never_ends_before_training(max_run_s, max_wait_s):
    try:
        chosen = LaunchSettings(instance_type="ml.g5.xlarge", spot=True, max_run_s=max_run_s, max_wait_s=max_wait_s)
    except UserError:
        assert max_wait_s < max_run_s or max_run_s > 28 * 86_400
    else:
        assert chosen.wait_s >= chosen.max_run_s
