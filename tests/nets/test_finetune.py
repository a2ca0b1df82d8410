"""What trains, what rests, and at which rate."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dogbreed import FinetuneSettings, OptimSettings, UserError
from dogbreed.nets.backbone import backbone_layers, build_net
from dogbreed.nets.finetune import MODES, hold_statistics, set_backbone_trainable
from dogbreed.nets.optim import CosineWithWarmup, build_optimizer, build_param_groups, build_scheduler

ARCHITECTURES = ("resnet18", "mobilenetv3_small_100", "test_vit", "test_efficientnet")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mode", MODES)
def test_each_parameter_is_in_exactly_one_group(architecture, mode):
    net = build_net(architecture, 5)
    groups = build_param_groups(net, OptimSettings(lr=1e-2), FinetuneSettings(mode))
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    trained = set(grouped)
    head = {id(p) for p in net.get_classifier().parameters()}
    assert trained == (head if mode == "head" else {id(p) for p in net.parameters()})
    for group in groups:
        part, no_decay = group["name"].split("_")[0], group["name"].endswith("no_decay")
        assert (group["weight_decay"] == 0) == no_decay
        assert all((p.ndim <= 1) == no_decay for p in group["params"])
        assert all((id(p) in head) == (part == "head") for p in group["params"])
        if part == "head" or mode not in ("layer_decay", "discriminative"):
            assert group["lr"] == pytest.approx(1e-2 if part == "head" else 1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_numbered_from_the_input_to_the_head(architecture):
    net = build_net(architecture, 5)
    layer_of, num_layers = backbone_layers(net)
    head = {id(p) for p in net.get_classifier().parameters()}
    assert layer_of.keys() == {name for name, p in net.named_parameters() if id(p) not in head}
    assert set(layer_of.values()) == set(range(num_layers))
    assert next(iter(layer_of.values())) == 0


def test_lower_layers_are_slower():
    net = build_net("resnet18", 5)

    def rates(mode, **options):
        groups = build_param_groups(net, OptimSettings(lr=1.0), FinetuneSettings(mode, **options))
        return {group["name"]: group["lr"] for group in groups if not group["name"].endswith("_no_decay")}

    decayed = rates("layer_decay", layer_decay=0.5, backbone_lr_scale=0.8)
    assert decayed["head"] == 1.0
    assert [decayed[f"backbone_{i}"] for i in range(9)] == pytest.approx([0.8 * 0.5 ** (8 - i) for i in range(9)])
    assert rates("discriminative") == {"head": 1.0, "backbone_0": pytest.approx(0.01), "backbone_1": 0.1}
    groups = build_param_groups(net, OptimSettings(lr=1.0), FinetuneSettings("discriminative"))
    slow = {id(p) for group in groups if group["name"].startswith("backbone_0") for p in group["params"]}
    assert {name.split(".")[0] for name, p in net.named_parameters() if id(p) in slow} == {
        "conv1", "bn1", "layer1", "layer2"}  # fmt: skip


def test_only_the_head_has_gradients_while_the_backbone_rests():
    net = build_net("test_resnet", 3)
    set_backbone_trainable(net, False)
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}
    set_backbone_trainable(net, True)
    assert all(p.requires_grad for p in net.parameters())


def test_held_statistics_do_not_move():
    net = build_net("test_resnet", 3).train()
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k or "num_batches" in k}
    net(torch.randn(4, 3, 32, 32) * 9 + 5)
    assert any(not torch.equal(before[k], net.state_dict()[k]) for k in before)
    before = {k: net.state_dict()[k].clone() for k in before}
    hold_statistics(net)
    net(torch.randn(4, 3, 32, 32) * 9 + 5)
    assert all(torch.equal(before[k], net.state_dict()[k]) for k in before)
    assert net.training


@given(total=st.integers(1, 500), warmup=st.integers(0, 100), first=st.integers(0, 100), final=st.floats(0, 1))
def test_the_schedule_stays_in_bounds(total, warmup, first, final):
    schedule = CosineWithWarmup(total, warmup, final, first)
    values = [schedule(step) for step in range(total + 5)]
    assert all(0 <= value <= 1 for value in values)
    assert all(value == 0 for value in values[: min(first, total)])
    falling = values[first + warmup :]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(falling))


def test_the_schedule_rises_and_falls_as_it_should():
    schedule = CosineWithWarmup(total_steps=110, warmup_steps=10, final_scale=0.1)
    assert schedule(0) == pytest.approx(1 / 11)
    assert schedule(10) == 1.0
    assert schedule(60) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert schedule(110) == pytest.approx(0.1)


def test_all_groups_exist_from_the_first_step_and_the_backbone_wakes_in_time():
    net = build_net("test_resnet", 3)
    optim, finetune = OptimSettings(lr=1.0, warmup_fraction=0.0), FinetuneSettings("head_then_full", head_epochs=2)
    optimizer = build_optimizer(build_param_groups(net, optim, finetune), optim)
    scheduler = build_scheduler(optimizer, optim, finetune, total_steps=50, steps_per_epoch=10)
    names = [group["name"] for group in optimizer.param_groups]
    assert sorted(names) == ["backbone", "backbone_no_decay", "head", "head_no_decay"]
    rates = []
    for _ in range(50):
        rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        scheduler.step()
    assert all(rate["backbone"] == 0 for rate in rates[:20])
    assert rates[20]["backbone"] == pytest.approx(0.1)
    assert rates[0]["head"] == 1.0
    assert rates[-1]["head"] < 0.01


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_optimisers_take_their_numbers(name):
    net = build_net("test_resnet", 3)
    optim = OptimSettings(name, lr=0.5, betas=(0.8, 0.9), eps=1e-5, momentum=0.7)
    optimizer = build_optimizer(build_param_groups(net, optim, FinetuneSettings()), optim)
    group = optimizer.param_groups[0]
    assert group["fused"]
    if name == "adamw":
        assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-5)
    else:
        assert (group["momentum"], group["nesterov"]) == (0.7, True)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (OptimSettings, {"name": "adam"}),
        (OptimSettings, {"lr": 0.0}),
        (OptimSettings, {"lr": float("nan")}),
        (OptimSettings, {"weight_decay": -1.0}),
        (OptimSettings, {"betas": (0.9, 1.0)}),
        (OptimSettings, {"eps": 0.0}),
        (OptimSettings, {"momentum": 1.0}),
        (OptimSettings, {"warmup_fraction": 1.0}),
        (OptimSettings, {"final_lr_scale": 1.1}),
        (FinetuneSettings, {"mode": "all"}),
        (FinetuneSettings, {"head_epochs": 0}),
        (FinetuneSettings, {"backbone_lr_scale": 0.0}),
        (FinetuneSettings, {"layer_decay": 0.0}),
        (FinetuneSettings, {"batchnorm": "eval"}),
    ],
)
def test_numbers_out_of_range_name_their_key(settings, wrong):
    group = "optim" if settings is OptimSettings else "finetune"
    with pytest.raises(UserError, match=rf"{group}\.{next(iter(wrong))}="):
        settings(**wrong)
