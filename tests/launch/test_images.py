"""The containers' addresses are those that Amazon's own SDK gives."""

import json
import subprocess
import sys

import pytest

from dogbreed.errors import UserError
from launch.aws import images
from launch.aws.images import rule_image, training_image

SPEAK = """
import json, sys
from sagemaker.core import image_uris
table = json.loads(sys.stdin.read())
asked = [
    image_uris.retrieve("pytorch-amzn2023", region, version=version, instance_type=machine, image_scope="training")
    for version, region, machine in table["images"]
]
rules = [image_uris.retrieve("debugger", region) for region in table["rules"]]
print(json.dumps([asked, rules]))
"""


@pytest.mark.slow
def test_all_addresses_are_the_sdks():
    table = images._table("pytorch-amzn2023")["training"]["versions"]
    wanted = [(version, region, "ml.g5.xlarge") for version in table for region in table[version]["registries"]]
    wanted += [(version, "us-east-1", machine) for version in table for machine in ("ml.m5.xlarge", "ml.p4d.24xlarge")]
    rules = list(images._table("debugger")["versions"]["latest"]["registries"])
    question = json.dumps({"images": wanted, "rules": rules})
    done = subprocess.run([sys.executable, "-c", SPEAK], input=question, capture_output=True, text=True, check=True)
    asked, asked_rules = json.loads(done.stdout.splitlines()[-1])

    assert [training_image(*item) for item in wanted] == asked
    assert [rule_image(region) for region in rules] == asked_rules
    assert len(wanted) > 150


def test_the_machine_decides_the_build():
    gpu = training_image("2.13", "eu-central-1", "ml.g5.xlarge")
    assert gpu == "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
    assert training_image("2.13", "cn-north-1", "ml.m5.large").endswith(".com.cn/pytorch:2.13-cpu-amzn2023-sagemaker")
    rules = rule_image("us-east-1")
    assert rules == "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"


def test_what_there_is_not():
    with pytest.raises(UserError, match=r"launch.image_version=1.9: Amazon has PyTorch containers of 2.11, 2.12, 2.13"):
        training_image("1.9", "eu-central-1", "ml.m5.large")
    with pytest.raises(UserError, match="no PyTorch 2.13 container in mars-1: regions that have one: af-south-1"):
        training_image("2.13", "mars-1", "ml.m5.large")
    missing = set(images._table("pytorch-amzn2023")["training"]["versions"]["2.13"]["registries"]) - set(
        images._table("pytorch-amzn2023")["training"]["versions"]["2.14"]["registries"]
    )
    with pytest.raises(UserError, match="launch.image_version=2.13 is the newest"):
        training_image("2.14", min(missing), "ml.m5.large")
    with pytest.raises(UserError, match="rules do not run in il-central-1: launch/debugger=none"):
        rule_image("il-central-1")


def test_nothing_slow_is_imported():
    code = (
        "import sys\nfrom launch.aws.images import training_image\n"
        "training_image('2.13', 'eu-central-1', 'ml.g5.xlarge')\n"
        "print([name for name in ('sagemaker', 'boto3', 'torch', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
