"""The table of machines is EC2's; misspelt names are told from new ones."""

import gzip
import json
from pathlib import Path

import botocore.session
import moto.ec2
import pytest

from dogbreed import UserError
from launch.machines import MACHINES, check_machine, find_machine

# EC2 lends these no more, so its answers do not have them: https://aws.amazon.com/ec2/instance-types/p3/
OLD = {name for name in MACHINES if name.startswith(("ml.p2.", "ml.p3."))}


@pytest.fixture(scope="module")
def recorded():
    """What DescribeInstanceTypes has answered, as moto keeps it."""
    file = Path(moto.ec2.__file__).parent / "resources" / "instance_types.json.gz"
    return json.loads(gzip.decompress(file.read_bytes()))


def test_the_table_is_what_ec2_says(recorded):
    for name, machine in MACHINES.items():
        if name in OLD:
            continue
        facts = recorded[name.removeprefix("ml.")]
        gpus = facts.get("GpuInfo", {}).get("Gpus", [])
        assert machine.num_cpus == facts["VCpuInfo"]["DefaultVCpus"], name
        assert machine.num_gpus == sum(gpu["Count"] for gpu in gpus), name
        assert machine.has_disk == bool(facts.get("InstanceStorageSupported", False)), name
        if gpus:
            assert machine.gpu.name == gpus[0]["Name"], name
            # EC2 says what the driver leaves, in units of 1024.
            assert gpus[0]["MemoryInfo"]["SizeInMiB"] * 2**20 / 1e9 == pytest.approx(machine.gpu.memory_gb, rel=0.08), (
                name
            )


def test_sagemaker_trains_on_every_machine_of_the_table():
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert set(MACHINES) <= set(model.shape_for("TrainingInstanceType").enum)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ml.g5.xlarg", "no instance type|does not exist.*Did you mean ml.g5.xlarge"),
        ("ml.g5.3xlarge", r"ml.g5.3xlarge does not exist. Did you mean ml.g5.*xlarge"),
        ("g5.xlarge", r"g5.xlarge is no instance type .* Did you mean ml.g5.xlarge\?"),
        ("ml.g5-xlarge", r"is no instance type .* Did you mean ml.g5.xlarge"),
        ("ml.p5.24xlarge", r"ml.p5.24xlarge does not exist. Did you mean ml.p5.4"),
        ("ml.new9.xlrge", r"ml.new9.xlrge does not exist"),
        ("a10g", "a10g is no instance type"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name, match):
    with pytest.raises(UserError, match=match):
        find_machine(name)


def test_a_name_that_may_be_new_is_let_through():
    assert find_machine("ml.g9x.12xlarge") is None
    assert find_machine("ml.p7-c300.metal") is None


def checked(name, **more):
    given = {"precision": "16-mixed", "devices": 1, "num_nodes": 1, "accelerator": "auto", "image": "auto"}
    check_machine(find_machine(name), **{**given, **more})


@pytest.mark.parametrize(
    ("name", "more", "match"),
    [
        ("ml.g4dn.xlarge", {"precision": "bf16-mixed"}, r"a T4 \(ml.g4dn.xlarge\) has no bfloat16: use 16-mixed"),
        ("ml.g5.xlarge", {"devices": 2}, r"trainer.devices=2, but ml.g5.xlarge has 1 A10G"),
        ("ml.g5.12xlarge", {"devices": 2}, r"torchrun starts a process for each of the 4 A10G"),
        ("ml.g5.12xlarge", {"num_nodes": 2}, r"use trainer.devices=4"),
        ("ml.p3.2xlarge", {}, r"CUDA 13 .* knows no more: choose launch=t4"),
        ("ml.m5.xlarge", {"accelerator": "gpu"}, r"ml.m5.xlarge has no GPU"),
        ("ml.g5.xlarge", {"accelerator": "cpu"}, r"would leave the 1 A10G of ml.g5.xlarge idle"),
    ],
)
def test_what_a_machine_cannot_do_is_refused_before_it_is_paid_for(name, more, match):
    with pytest.raises(UserError, match=match):
        checked(name, **more)


def test_what_a_machine_can_do():
    checked("ml.g5.12xlarge", devices=4, num_nodes=2, precision="bf16-mixed")
    checked("ml.g5.12xlarge")
    checked("ml.p3.2xlarge", image="1.dkr.ecr.eu-central-1.amazonaws.com/own:cuda12")
    checked("ml.m5.xlarge", precision="bf16-mixed")
