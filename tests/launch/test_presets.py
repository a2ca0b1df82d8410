"""Every preset: what it binds, and that the API takes the request that comes of it."""

import pytest
from launch_helpers import edited, facts_of
from launch_requests import refused_by_botocore

from dogbreed.config import group_options
from launch.machines import find_machine
from launch.plan import make_plan
from launch.settings import LaunchSettings

PRESETS = group_options()["launch"]


def test_there_is_one_for_everything_that_was_asked_for():
    wanted = {"local", "cpu", "t4", "a10g", "l4", "l40s", "a100", "h100", "a10g_x4", "l4_x4", "a100_x8", "h100_x8"}
    assert wanted | {"a10g_x4_2nodes", "a100_x8_2nodes"} <= set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset(preset):
    cfg = edited(base=(f"launch={preset}",))
    chosen = LaunchSettings.of(cfg)
    binds_what_its_machine_decides(cfg, chosen)
    for more in ([], ["launch.spot=true", "launch.network_isolation=true"]):
        changed = edited(*more, base=(f"launch={preset}",))
        plan = make_plan(changed, [f"launch={preset}"], facts_of(changed))
        assert plan.request["HyperParameters"]["launch"] == f'"{preset}"'
        if not chosen.is_local:
            assert refused_by_botocore(plan.request) == ""


def binds_what_its_machine_decides(cfg, chosen):
    assert cfg.data.batch_size == edited(base=()).data.batch_size
    assert chosen.instance_count == cfg.trainer.num_nodes
    if chosen.is_local:
        return
    machine = find_machine(chosen.instance_type)
    if machine.gpu is None:
        assert (cfg.trainer.accelerator, cfg.trainer.precision) == ("cpu", "auto")
        return
    assert cfg.trainer.precision == ("bf16-mixed" if machine.gpu.has_bf16 else "16-mixed")
    assert (cfg.trainer.accelerator, cfg.trainer.devices) == ("gpu", machine.num_gpus)
    assert cfg.data.num_workers == min(16, machine.workers_per_device)
    # 50 MB a picture in half of the memory (conf/launch/_base.yaml).
    micro = cfg.data.micro_batch_size
    assert micro & (micro - 1) == 0
    assert micro <= machine.gpu.memory_gb * 1e9 / 2 / 50e6 < 2 * micro
