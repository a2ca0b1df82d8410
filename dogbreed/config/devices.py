"""Which devices train, in how many processes, and what does not go together with several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dogbreed.data.passes import num_passes
from dogbreed.distributed import world
from dogbreed.errors import UserError
from dogbreed.machine import num_cpus

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Processes that share a core wait for each other; a few do no harm where someone tries how they get on.
MOST_PER_CORE = 4


def settle_devices(cfg: DictConfig) -> None:
    """Turn every way of naming devices into a number or a list of GPU numbers, in place.

    ``auto`` is one device, where Lightning would take every GPU; -1 is all of them.

    Raises:
        UserError: the value names no devices.
    """
    from omegaconf import OmegaConf

    value: Any = cfg.trainer.devices
    try:
        if OmegaConf.is_list(value):
            value = [int(number) for number in value]
        elif isinstance(value, str) and "," in value:
            value = [int(number) for number in value.split(",") if number.strip()]
        else:
            value = 1 if value == "auto" else int(value)
    except (TypeError, ValueError):
        msg = f"trainer.devices={value} names no devices: give a number (2) or a list of GPUs ([0,1])."
        raise UserError(msg) from None
    cfg.trainer.devices = _num_gpus(cfg) if value == -1 and _num_gpus(cfg) else value


def local_devices(cfg: DictConfig) -> int:
    """Return how many devices, and so processes, train on each machine."""
    devices = cfg.trainer.devices
    return devices if isinstance(devices, int) else len(devices)


def num_ranks(cfg: DictConfig) -> int:
    """Return how many processes train together, on all machines."""
    return local_devices(cfg) * int(cfg.trainer.num_nodes)


def check_passes(cfg: DictConfig) -> str | None:
    """Return in what portions a device takes its share of a batch, in words; None for whole.

    Args:
        cfg: After `check_devices`.

    Raises:
        UserError: ``data.micro_batch_size`` is below 1, or leaves nothing to mix pictures with.
    """
    passes = num_passes(cfg.data.batch_size, num_ranks(cfg), cfg.data.micro_batch_size)
    if passes == 1:
        return None
    portion = cfg.data.batch_size // num_ranks(cfg) // passes
    mix = cfg.augment.get("mix") or {}
    if portion == 1 and mix.get("probability"):
        msg = (
            f"data.micro_batch_size={cfg.data.micro_batch_size} has pictures come one by one, with no other to mix "
            "with: raise it, choose a data.batch_size that has divisors, or set augment.mix.probability=0."
        )
        raise UserError(msg)
    return f"{portion} ({passes} passes a batch)"


def check_devices(cfg: DictConfig) -> None:
    """Refuse devices that are not there, and what several devices cannot do.

    Args:
        cfg: After `settle_devices`.

    Raises:
        UserError: names the key and the remedy.
    """
    devices, count, num_gpus = cfg.trainer.devices, local_devices(cfg), _num_gpus(cfg)
    gpus = [devices - 1] if isinstance(devices, int) else list(devices)
    if count < 1 or min(gpus) < 0:
        msg = f"trainer.devices={devices} trains on nothing: give a number from 1, or a list of GPUs."
        raise UserError(msg)
    if not isinstance(devices, int) and not num_gpus:
        msg = f"trainer.devices={devices} names GPUs, and this run has none: give a number of processes."
        raise UserError(msg)
    if not num_gpus and count > MOST_PER_CORE * num_cpus():
        msg = f"trainer.devices={devices} means so many processes on {num_cpus()} cores: give as many or fewer."
        raise UserError(msg)
    if num_gpus and (max(gpus) >= num_gpus or len(set(gpus)) < len(gpus)):
        msg = f"trainer.devices={devices}, but torch finds {num_gpus} here: give as many or fewer, each once."
        raise UserError(msg)
    if cfg.trainer.num_nodes < 1:
        msg = f"trainer.num_nodes={cfg.trainer.num_nodes} must be at least 1."
        raise UserError(msg)
    _check_start(cfg)
    if num_ranks(cfg) > 1:
        _check_several(cfg)


def _check_start(cfg: DictConfig) -> None:
    """Compare what was started with what is wanted."""
    place, wanted = world(), num_ranks(cfg)
    given = f"trainer.devices={cfg.trainer.devices} and trainer.num_nodes={cfg.trainer.num_nodes}"
    if place.is_started and place.num_ranks != wanted:
        msg = f"torchrun has started {place.num_ranks} processes, and {given} mean {wanted}: make them the same number."
        raise UserError(msg)
    if not place.is_started and cfg.trainer.num_nodes > 1:
        msg = (
            f"trainer.num_nodes={cfg.trainer.num_nodes} needs a start on each machine: torchrun --nnodes="
            f"{cfg.trainer.num_nodes} --nproc-per-node={local_devices(cfg)} … -m dogbreed.train …"
        )
        raise UserError(msg)


def _check_several(cfg: DictConfig) -> None:
    """Refuse what is right on one device only."""
    count = num_ranks(cfg)
    share, rest = divmod(int(cfg.data.batch_size), count)
    if rest or not share:
        sizes = " or ".join(str(size * count) for size in (share, share + 1) if size)
        msg = f"data.batch_size={cfg.data.batch_size} cannot be shared by {count} devices: use {sizes}."
        raise UserError(msg)
    if cfg.trainer.strategy not in ("auto", "ddp"):
        msg = f"trainer.strategy={cfg.trainer.strategy}: several devices train with trainer.strategy=ddp."
        raise UserError(msg)
    if cfg.trainer.get("sync_batchnorm"):
        # torch's conversion drops the activation in timm's BatchNormAct2d, without a word.
        msg = "trainer.sync_batchnorm=true would break timm's layers: leave it out, ranks average their statistics."
        raise UserError(msg)
    if cfg.trainer.overfit_batches:  # Lightning then gives every rank the same pictures
        msg = f"trainer.overfit_batches={cfg.trainer.overfit_batches} is for one device: set trainer.devices=1."
        raise UserError(msg)


def _num_gpus(cfg: DictConfig) -> int:
    """Return how many GPUs this run may use; 0 on a CPU, 1 on Apple's."""
    import torch

    if cfg.trainer.accelerator == "cpu":
        return 0
    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return int(torch.backends.mps.is_available())
