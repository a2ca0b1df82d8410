"""What is inside an instance type: processors, GPUs, disk.

Numbers are those of Amazon's pages of instance types (https://aws.amazon.com/ec2/instance-types/), as EC2's
DescribeInstanceTypes answers them; a test holds them against a recording of its answers. What SageMaker trains on is
a part of it: https://docs.aws.amazon.com/sagemaker/latest/dg/notebooks-available-instance-types.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dogbreed.errors import UserError, did_you_mean, nearest

_FORM = re.compile(r"ml\.[a-z][a-z0-9-]*\.(?:[a-z]+|\d+xlarge)")


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Args:
        name: As NVIDIA calls it.
        memory_gb: Of one, in GB as it is sold.
        has_bf16: Computes in bfloat16 by itself: Ampere and newer.
        has_cuda13: CUDA 13, and so Amazon's containers from PyTorch 2.13 on, still knows it: Turing and newer.
    """

    name: str
    memory_gb: int
    has_bf16: bool = True
    has_cuda13: bool = True


@dataclass(frozen=True)
class Machine:
    """An instance type.

    Args:
        instance_type: ``ml.g5.xlarge``.
        num_cpus: Virtual CPUs.
        num_gpus: GPUs; 0 for a machine without.
        gpu: What they are.
        has_disk: Has a disk of its own, which stands in place of the volume that is asked for.
    """

    instance_type: str
    num_cpus: int
    num_gpus: int = 0
    gpu: Gpu | None = None
    has_disk: bool = False

    @property
    def workers_per_device(self) -> int:
        """Virtual CPUs for each GPU, or all of them."""
        return self.num_cpus // max(1, self.num_gpus)


K80 = Gpu("K80", 12, has_bf16=False, has_cuda13=False)
V100 = Gpu("V100", 16, has_bf16=False, has_cuda13=False)
V100_32 = Gpu("V100", 32, has_bf16=False, has_cuda13=False)
T4 = Gpu("T4", 16, has_bf16=False)
A10G, L4, L40S = Gpu("A10G", 24), Gpu("L4", 24), Gpu("L40S", 48)
A100_40, A100_80 = Gpu("A100", 40), Gpu("A100", 80)
H100, H200, B200, B300 = Gpu("H100", 80), Gpu("H200", 141), Gpu("B200", 180), Gpu("B300", 269)
PRO_4500, PRO_6000 = Gpu("RTX PRO 4500", 32), Gpu("RTX PRO Server 6000", 96)

# Size: virtual CPUs of the families that follow the rule of four an xlarge.
_XLARGE_CPUS = 4
# Family: sizes, as multiples of an xlarge; 0.5 is a large.
_CPU_FAMILIES: dict[str, tuple[float, ...]] = {
    "m4": (1, 2, 4, 10, 16),
    "m5": (0.5, 1, 2, 4, 12, 24),
    "m6i": (0.5, 1, 2, 4, 8, 12, 16, 24, 32),
    "m7i": (0.5, 1, 2, 4, 8, 12, 16, 24, 48),
    "c5": (1, 2, 4, 9, 18),
    "c5n": (1, 2, 4, 9, 18),
    "c6i": (1, 2, 4, 8, 12, 16, 24, 32),
    "c7i": (0.5, 1, 2, 4, 8, 12, 16, 24, 48),
    "r5": (0.5, 1, 2, 4, 8, 12, 16, 24),
    "r5d": (0.5, 1, 2, 4, 8, 12, 16, 24),
    "r6i": (0.5, 1, 2, 4, 8, 12, 16, 24, 32),
    "r7i": (0.5, 1, 2, 4, 8, 12, 16, 24, 48),
}
# Family: the GPU and, for each size, how many of them.
_GPU_FAMILIES: dict[str, tuple[Gpu, dict[int, int]]] = {
    "g4dn": (T4, {1: 1, 2: 1, 4: 1, 8: 1, 12: 4, 16: 1}),
    "g5": (A10G, {1: 1, 2: 1, 4: 1, 8: 1, 12: 4, 16: 1, 24: 4, 48: 8}),
    "g6": (L4, {1: 1, 2: 1, 4: 1, 8: 1, 12: 4, 16: 1, 24: 4, 48: 8}),
    "g6e": (L40S, {1: 1, 2: 1, 4: 1, 8: 1, 12: 4, 16: 1, 24: 4, 48: 8}),
    "g7": (PRO_4500, {2: 1, 4: 1, 8: 1, 12: 2, 24: 4, 48: 8}),
    "g7e": (PRO_6000, {2: 1, 4: 1, 8: 1, 12: 2, 24: 4, 48: 8}),
    "p2": (K80, {1: 1, 8: 8, 16: 16}),
    "p3": (V100, {2: 1, 8: 4, 16: 8}),
    "p3dn": (V100_32, {24: 8}),
    "p4d": (A100_40, {24: 8}),
    "p4de": (A100_80, {24: 8}),
    "p5": (H100, {4: 1, 48: 8}),
    "p5e": (H200, {48: 8}),
    "p5en": (H200, {48: 8}),
    "p6-b200": (B200, {48: 8}),
    "p6-b300": (B300, {48: 8}),
}
_WITHOUT_DISK = ("p2", "p3")


def _table() -> dict[str, Machine]:
    machines = []
    for family, sizes in _CPU_FAMILIES.items():
        for size in sizes:
            name = "large" if size < 1 else "xlarge" if size == 1 else f"{size:g}xlarge"
            machine = Machine(f"ml.{family}.{name}", int(size * _XLARGE_CPUS), has_disk=family.endswith("d"))
            machines.append(machine)
    for family, (gpu, counts) in _GPU_FAMILIES.items():
        for size, count in counts.items():
            name = f"ml.{family}.{'' if size == 1 else size}xlarge"
            machines.append(Machine(name, size * _XLARGE_CPUS, count, gpu, has_disk=family not in _WITHOUT_DISK))
    return {machine.instance_type: machine for machine in machines}


MACHINES = _table()


def find_machine(instance_type: str, key: str = "launch.instance_type") -> Machine | None:
    """Look an instance type up.

    Args:
        instance_type: ``ml.g5.xlarge``.
        key: That it was given by.

    Returns:
        What is known of it; None for one that is not in the table and may be all the same: AWS adds new ones.

    Raises:
        UserError: it is no instance type, or surely a misspelt one.
    """
    found = MACHINES.get(instance_type)
    if found:
        return found
    if not _FORM.fullmatch(instance_type):
        msg = f"{key}={instance_type} is no instance type of SageMaker's. {_guess(instance_type)}"
        raise UserError(msg.strip())
    family, _, size = instance_type.removeprefix("ml.").partition(".")
    known_sizes = [name for name in MACHINES if name.startswith(f"ml.{family}.")]
    # A family that is known comes in sizes that are known, and no size but `xlarge` is spelt like it.
    if known_sizes or not re.fullmatch(r"(?:\d+x)?(?:nano|micro|small|medium|large)|(?:\d*)xlarge|metal", size):
        msg = f"{key}={instance_type} does not exist. {_guess(instance_type)}".strip()
        raise UserError(msg)
    return None


def _guess(instance_type: str) -> str:
    with_prefix = instance_type if instance_type.startswith("ml.") else f"ml.{instance_type}"
    if with_prefix in MACHINES:
        return f"Did you mean {with_prefix}?"
    family = with_prefix.removeprefix("ml.").partition(".")[0]
    same_family = [name for name in MACHINES if name.startswith(f"ml.{family}.")]
    if same_family and len(same_family) <= 12 and not nearest(with_prefix, same_family, count=1):
        return f"Valid: {', '.join(same_family)}."
    return did_you_mean(with_prefix, same_family or MACHINES)


def check_machine(
    machine: Machine, *, precision: str, devices: int, num_nodes: int, accelerator: str, image: str
) -> None:
    """Refuse what a machine cannot do, before it is paid for.

    Args:
        machine: Whereon the run is to train.
        precision: ``trainer.precision``.
        devices: ``trainer.devices`` as a number.
        num_nodes: How many such machines train together.
        accelerator: ``trainer.accelerator``.
        image: ``launch.image``.

    Raises:
        UserError: names the key and what goes instead.
    """
    name = machine.instance_type
    if machine.gpu is None:
        if accelerator in ("gpu", "cuda"):
            msg = f"trainer.accelerator={accelerator}, but {name} has no GPU: choose launch=a10g, or trainer=cpu."
            raise UserError(msg)
        return
    count = f"{machine.num_gpus} {machine.gpu.name}"
    if not machine.gpu.has_cuda13 and image == "auto":
        msg = (
            f"{name} has {count}, which CUDA 13 in Amazon's containers from PyTorch 2.13 on knows no more: choose "
            "launch=t4 or launch=a10g, or name an image of your own, launch.image=ADDRESS."
        )
        raise UserError(msg)
    if precision.startswith("bf16") and not machine.gpu.has_bf16:
        msg = f"trainer.precision={precision}, but a {machine.gpu.name} ({name}) has no bfloat16: use 16-mixed."
        raise UserError(msg)
    if accelerator == "cpu":
        msg = f"trainer.accelerator=cpu would leave the {count} of {name} idle: leave it out, or use launch=cpu."
        raise UserError(msg)
    if devices > machine.num_gpus:
        msg = f"trainer.devices={devices}, but {name} has {count}: give as many or fewer, or a larger instance type."
        raise UserError(msg)
    if devices * num_nodes > 1 and devices < machine.num_gpus:
        msg = (
            f"trainer.devices={devices}, but torchrun starts a process for each of the {count} of {name}: use "
            f"trainer.devices={machine.num_gpus}, or a smaller instance type."
        )
        raise UserError(msg)
