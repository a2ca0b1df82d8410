"""A launch put together, and what a dry run says of it."""

import json
import os
import re
import subprocess
import sys

import pytest
from launch_helpers import NOW, TOKEN, edited, facts_of
from launch_requests import refused_by_botocore

from dogbreed import UserError, compose
from dogbreed.config.hashing import config_hash
from launch.facts import BundleFacts, Facts
from launch.plan import make_plan, plan_routing
from launch.preview import preview
from launch.settings import LaunchSettings

BUNDLE = BundleFacts("ab" * 32, 345_678, {"sm_entry.py": 300, "dogbreed/a.py": 1000, "dogbreed/b.py": 500}, "1234567+")


def dry(cfg, **more):
    return Facts.without_aws(LaunchSettings.of(cfg), now=NOW, token=TOKEN, version="0.1.0", **more)


def planned(*values, overrides=("launch=a10g",), base=("launch=a10g",), **more):
    cfg = edited(*values, base=base)
    return make_plan(cfg, list(overrides), facts_of(cfg), **more)


def test_a_dry_run_needs_no_account_and_marks_what_is_missing(tmp_path):
    cfg = edited(f"data.root='{tmp_path}'")
    plan = make_plan(
        cfg, ["launch=a10g", f"data.root='{tmp_path}'"], dry(cfg, bundle=BUNDLE), choices={"data": "folder"}
    )
    assert refused_by_botocore(plan.request) == ""
    text = preview(plan)
    # The exact request is in it.
    request = json.loads(re.search(r"^-- request.*\n(\{.*?^\})", text, flags=re.M | re.S)[1])
    assert request == plan.request
    assert request["TrainingJobName"] == "resnet18-folder-20261122-130509-9f3a"
    assert request["OutputDataConfig"]["S3OutputPath"].startswith("s3://sagemaker-<region>-<account>/dogbreed/jobs/")
    assert f"data  {tmp_path} -> s3://sagemaker-<region>-<account>/dogbreed/data/<sha256 of data>/" in text
    assert "sourcedir.tar.gz  346 kB, 3 files, revision 1234567+" in text
    assert "dogbreed/  2 files, 1.5 kB unpacked" in text
    assert "cost unknown (1 × ml.g5.xlarge for at most 86520 s; no prices were asked for)" in text
    _, _, marked = text.partition("-- placeholders")
    for placeholder in (
        "<region>",
        "sagemaker-<region>-<account>",
        "role/placeholder",
        "<image of PyTorch 2.13>",
        "<sha256 of",
    ):
        assert placeholder in marked, placeholder
    assert text.endswith("Dry run: nothing was sent.")


def test_what_is_given_is_no_placeholder():
    role = "arn:aws:iam::123456789012:role/R"
    values = ["launch.region=eu-west-1", "launch.bucket=mine", f"launch.role='{role}'", "launch.image=a/b:c"]
    cfg = edited(*values)
    plan = make_plan(cfg, [], dry(cfg, bundle=BUNDLE))
    assert plan.facts.placeholders == {}
    assert "placeholders" not in preview(plan)
    assert plan.request["RoleArn"] == role
    named = dry(edited("launch.role=Trainer"))
    assert named.role_arn == "arn:aws:iam::000000000000:role/Trainer"
    assert named.role_arn in named.placeholders


def test_uploads_are_known_before_there_are_addresses(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    values = [f"data.root='{tmp_path}'", f"model.weights='{tmp_path}/w.pth'"]
    cfg = edited(*values)
    routing = plan_routing(cfg, ["launch=a10g"])
    assert [channel.name for channel in routing.channels] == ["data", "weights"]
    addresses = {"data": "s3://b/data/1/", "weights": "s3://b/data/2/"}
    plan = make_plan(cfg, ["launch=a10g"], facts_of(cfg, addresses=addresses))
    assert [address for _, address in plan.uploads] == list(addresses.values())
    remote = planned("data.root='s3://b/photos'", "model.weights='s3://b/w.pth'")
    assert remote.uploads == ()
    assert [address for _, address in remote.channels] == ["s3://b/photos/", "s3://b/w.pth"]


def test_the_hash_is_the_one_that_the_job_comes_to(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"")
    typed = [
        *("launch=a10g", "data=folder", f"data.root='{tmp_path}'", f"model.weights='{tmp_path}/w.pth'"),
        *("data.cache=/scratch", "checkpoint_dir=/scratch", "optim.lr=1e-3", "launch.spot=true"),
        "+callbacks.x={_target_: a.B}",
    ]
    cfg = compose(typed)
    plan = make_plan(cfg, typed, facts_of(cfg))
    monkeypatch.setenv("SM_CHANNEL_DATA", "/opt/ml/input/data/data")
    monkeypatch.setenv("SM_CHANNEL_WEIGHTS", "/opt/ml/input/data/weights")
    there = compose(list(plan.overrides))
    assert json.loads(plan.request["HyperParameters"]["dogbreed_config_hash"]) == config_hash(there)
    assert there.optim.lr == 1e-3
    assert there.launch.spot is False  # a matter of ours


@pytest.mark.parametrize(
    ("values", "base", "match"),
    [
        (["trainer.num_nodes=2"], "a10g", r"trainer.num_nodes=2 and launch.instance_count=1 mean the same"),
        (["trainer.precision=bf16-mixed"], "t4", r"a T4 \(ml.g4dn.xlarge\) has no bfloat16"),
        (["launch.instance_type=ml.g4dn.xlarge"], "a10g", r"bf16-mixed, but a T4"),
        (["launch.instance_type=ml.g5.xxlarge"], "a10g", r"instance_type=ml.g5.xxlarge .* Did you mean ml.g5.*xlarge"),
        (["data.batch_size=10"], "a10g_x4", r"data.batch_size=10 cannot be shared by 4 devices: use 8\."),
        (["data.batch_size=2"], "a10g_x4", r"data.batch_size=2 cannot be shared by 4 devices: use 4\."),
        (["launch.volume_kms_key=k"], "a10g", r"ml.g5.xlarge has a disk of its own"),
        (["trainer.devices=x"], "a10g", r"trainer.devices=x names no devices"),
        (["trainer.devices=0"], "a10g", r"trainer.devices=0 trains on nothing"),
        (["data.root=/nowhere"], "a10g", r"data.root=/nowhere is not there"),
        ([f"+launch.tags={{a: {'x' * 257}}}"], "a10g", r"launch.tags.a="),
    ],
)
def test_what_would_fail_there_is_refused_here(values, base, match):
    with pytest.raises(UserError, match=match):
        planned(*values, base=(f"launch={base}",))


def test_all_devices_of_a_machine():
    plan = planned("trainer.devices=-1", base=("launch=a10g_x4",))
    assert plan.request["HyperParameters"]["sagemaker_torch_distributed_enabled"] == "true"
    one = planned("trainer.devices=1", base=("launch=a10g_x4",))
    assert any("has 4 GPUs, and the run uses 1 of them" in note for note in one.notes)


def test_a_machine_that_is_not_in_the_table():
    plan = planned("launch.instance_type=ml.g9x.48xlarge")
    assert any("ml.g9x.48xlarge is not in our table" in note for note in plan.notes)


def test_a_local_launch_has_a_plan_too():
    cfg = edited(base=("launch=local",))
    plan = make_plan(cfg, ["launch=local"], dry(cfg))
    assert plan.request["HyperParameters"]["launch"] == '"local"'
    assert "-- cost" not in preview(plan)


def test_a_plan_loads_neither_torch_nor_the_sdk():
    code = (
        "import sys; from dogbreed.config import compose; from datetime import datetime;"
        "from launch.facts import Facts; from launch.plan import make_plan; from launch.preview import preview;"
        "from launch.settings import LaunchSettings; cfg = compose(['launch=a10g']);"
        "facts = Facts.without_aws(LaunchSettings.of(cfg), now=datetime.now(), token='abcd', version='1');"
        "preview(make_plan(cfg, ['launch=a10g'], facts));"
        "print([name for name in ('torch', 'lightning', 'timm', 'boto3', 'botocore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
