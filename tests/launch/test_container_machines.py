"""What a job makes of the machine that it finds itself on."""

from pathlib import Path

import pytest

from dogbreed import UserError, compose
from launch.container.entry import _settle_machine
from launch.container.job import Job

# -- machines ----------------------------------------------------------------


def settle(overrides, monkeypatch, local_ranks=None, **machine):
    if local_ranks:
        count = local_ranks * len(machine.get("hosts", ("algo-1",)))
        for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": local_ranks,
                            "MASTER_ADDR": "x", "MASTER_PORT": 1}.items():  # fmt: skip
            monkeypatch.setenv(name, str(value))
    cfg = compose(overrides)
    settings = {"instance_type": "ml.g5.12xlarge", **machine}
    _settle_machine(cfg, list(overrides), Job(Path(), Path(), Path(), **settings))
    return cfg.trainer.devices, cfg.trainer.num_nodes


@pytest.mark.parametrize(
    ("overrides", "machine", "expected"),
    [
        ([], {"num_gpus": 4, "local_ranks": 4}, (4, 1)),
        ([], {"num_gpus": 4}, (4, 1)),
        (["trainer.devices=2"], {"num_gpus": 4}, (2, 1)),
        ([], {"num_gpus": 4, "instance_type": "local"}, (1, 1)),
        (["trainer=cpu"], {"num_gpus": 4}, (1, 1)),
        ([], {"num_gpus": 8, "local_ranks": 8, "hosts": ("algo-1", "algo-2")}, (8, 2)),
        (["trainer.devices=8", "trainer.num_nodes=2"], {"local_ranks": 8, "hosts": ("a", "b")}, (8, 2)),
    ],
)
def test_devices_and_machines(overrides, machine, expected, monkeypatch):
    assert settle(overrides, monkeypatch, **machine) == expected


@pytest.mark.parametrize(
    ("overrides", "machine", "sentence"),
    [
        (["trainer.devices=2"], {"local_ranks": 4}, r"^trainer\.devices=2, but each machine of this job .* runs 4 "),
        (["trainer.num_nodes=2"], {}, r"^trainer\.num_nodes=2, but this job has 1 machine: leave"),
        (["trainer.num_nodes=1"], {"hosts": ("a", "b")}, r"^trainer\.num_nodes=1, but this job has 2 machines: leave"),
    ],
)
def test_other_devices_and_machines(overrides, machine, sentence, monkeypatch):
    with pytest.raises(UserError, match=sentence):
        settle(overrides, monkeypatch, **machine)
