"""The folder that SageMaker gives a job: what is ``/opt/ml`` there, anywhere here."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dogbreed.errors import UserError
from dogbreed.files import write_json

# What stands for the machine; SageMaker has nothing of that name.
MACHINE = "machine"
TENSORS = "/opt/ml/output/tensors"


def lay_out(
    request: Mapping[str, Any],
    base: Path,
    *,
    channels: Mapping[str, Path] | None = None,
    host_index: int = 0,
    num_gpus: int | None = None,
) -> None:
    """Make a job's folder as SageMaker makes it before the container starts.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html

    Args:
        request: CreateTrainingJob's.
        base: Takes the place of ``/opt/ml``; made if it is not there. What is in it stays: checkpoints, say.
        channels: Where each channel's files are; they are linked, not copied.
        host_index: Which of the job's machines this one is, from 0.
        num_gpus: GPUs that the toolkit is to count; None for those that are here.

    Raises:
        UserError: a channel of the request has no files.
    """
    for name in ("model", "input/config", "input/data", "output/data"):
        (base / name).mkdir(parents=True, exist_ok=True)
    if request.get("CheckpointConfig"):
        (base / "checkpoints").mkdir(exist_ok=True)
    config = base / "input" / "config"
    write_json(config / "hyperparameters.json", _hyperparameters(request, base))
    write_json(config / "inputdataconfig.json", _describe_channels(request))
    write_json(config / "resourceconfig.json", _describe_hosts(request, host_index))
    write_json(config / "trainingjobconfig.json", dict(request))
    if request.get("DebugHookConfig"):
        hook = dict(request["DebugHookConfig"])
        hook["LocalPath"] = str(base / Path(hook.get("LocalPath") or TENSORS).relative_to("/opt/ml"))
        write_json(config / "debughookconfig.json", hook)
    for channel in request.get("InputDataConfig") or ():
        _link(base / "input" / "data" / channel["ChannelName"], (channels or {}).get(channel["ChannelName"]))
    if num_gpus is not None:
        _pretend_gpus(base / MACHINE / "bin" / "nvidia-smi", num_gpus)


def _hyperparameters(request: Mapping[str, Any], base: Path) -> dict[str, str]:
    """Return the job's, the code's place in a channel moved with ``/opt/ml``."""
    found = dict(request.get("HyperParameters") or {})
    code = found.get("sagemaker_submit_directory", "")
    if code.startswith('"/opt/ml/'):
        found["sagemaker_submit_directory"] = json.dumps(str(base / json.loads(code).removeprefix("/opt/ml/")))
    return found


def host_names(request: Mapping[str, Any]) -> list[str]:
    """Return the names of a job's machines: ``algo-1`` and so on."""
    count = int((request.get("ResourceConfig") or {}).get("InstanceCount") or 1)
    return [f"algo-{number + 1}" for number in range(count)]


def _describe_channels(request: Mapping[str, Any]) -> dict[str, Any]:
    described = {}
    for channel in request.get("InputDataConfig") or ():
        source = (channel.get("DataSource") or {}).get("S3DataSource") or {}
        described[channel["ChannelName"]] = {
            "TrainingInputMode": channel.get("InputMode") or "File",
            "S3DistributionType": source.get("S3DataDistributionType") or "FullyReplicated",
            "RecordWrapperType": channel.get("RecordWrapperType") or "None",
            **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
        }
    return described


def _describe_hosts(request: Mapping[str, Any], host_index: int) -> dict[str, Any]:
    hosts = host_names(request)
    instance_type = (request.get("ResourceConfig") or {}).get("InstanceType") or "local"
    group = "homogeneousCluster"
    return {
        "current_host": hosts[host_index],
        "current_instance_type": instance_type,
        "current_group_name": group,
        "hosts": hosts,
        "instance_groups": [{"instance_group_name": group, "instance_type": instance_type, "hosts": hosts}],
        # All machines are this one.
        "network_interface_name": "lo" if sys.platform.startswith("linux") else "lo0",
    }


def _link(target: Path, source: Path | None) -> None:
    """Show a channel's files; a single file lies in the channel's folder, as SageMaker puts it there."""
    if target.is_symlink():
        target.unlink()
    elif target.is_dir():
        if source is None:
            return  # somebody has put the files there already
        shutil.rmtree(target)
    if source is None:
        msg = f"The job has a channel {target.name}, and there are no files for it: name their folder."
        raise UserError(msg)
    source = source.expanduser().absolute()
    if source.is_dir():
        target.symlink_to(source, target_is_directory=True)
    elif source.exists():
        target.mkdir()
        (target / source.name).symlink_to(source)
    else:
        msg = f"{source} is not there, which channel {target.name} is to show: check its name."
        raise UserError(msg)


def _pretend_gpus(tool: Path, num_gpus: int) -> None:
    """Answer the one question that the toolkit asks of NVIDIA's tool."""
    tool.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"echo 'GPU {number}: pretended'\n" for number in range(num_gpus))
    tool.write_text(f"#!/bin/sh\n{lines}", encoding="utf-8")
    os.chmod(tool, 0o755)  # noqa: PTH101, S103 -- a command
