"""BatchNorm layers that are folded into convolutions: the same network, the same gradients."""

from __future__ import annotations

import copy
import warnings

import pytest
import timm
import torch
from torch import Tensor, nn

from dogbreed.nets.backbone import build_net
from dogbreed.nets.finetune import hold_statistics
from dogbreed.nets.folding import FoldingConv2d, quicken


def network(name: str) -> nn.Module:
    """Make one whose statistics and factors are not those of a new one."""
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    plain = network(name)
    ours = copy.deepcopy(plain)
    quicken(ours)
    return plain, ours


def num_folded(net: nn.Module) -> int:
    return sum(isinstance(module, FoldingConv2d) and bool(module.norm) for module in net.modules())


def gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    logits = net(x)
    nn.functional.cross_entropy(logits, torch.arange(len(x)) % 3).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.parametrize(
    ("name", "count"), [("test_resnet", 15), ("mobilenetv3_small_050", 34), ("tf_mobilenetv3_small_minimal_100", 29)]
)
def test_frozen_layers_are_folded_and_train_as_before(name, count):
    plain, ours = pair(name)
    assert num_folded(ours) == count
    assert list(ours.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    for net in (plain, ours):
        net.train()
        hold_statistics(net)
        for module in net.modules():
            module.drop_rate = 0.0
    theirs, found = gradients(plain, x), gradients(ours, x)
    assert found.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(found[key], theirs[key], rtol=1e-8, atol=1e-10, msg=key)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050"])
def test_layers_that_learn_statistics_are_left_alone(name):
    plain, ours = pair(name)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    for net in (plain, ours):
        net.train()
        net(x)
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[key]), key
    for net in (plain, ours):
        net.eval()
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-9, atol=1e-9)


def test_a_copy_folds_its_own_layers():
    _, ours = pair("test_resnet")
    average = copy.deepcopy(ours).eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    before = average(x)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert torch.equal(average(x), before)


def test_compiled_code_has_the_plain_layers():
    plain, ours = pair("test_resnet")
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(ours.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), plain.eval()(x), rtol=1e-9, atol=1e-9)


class TwoWays(nn.Module):
    """Its convolution's output goes past the BatchNorm layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


class Changed(TwoWays):
    """Something happens in between, in place."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu_())


class Twice(TwoWays):
    """One layer serves two convolutions' outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.norm(self.conv(x + 1))


@pytest.mark.parametrize("make", [TwoWays, Changed, Twice])
def test_what_cannot_be_folded_is_not(make):
    torch.manual_seed(0)
    plain = make().eval()
    ours = copy.deepcopy(plain)
    quicken(ours)
    assert num_folded(ours) == 0
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(ours(x), plain(x))


def test_nothing_random_is_drawn_for_it():
    torch.manual_seed(0)
    timm.create_model("test_resnet", num_classes=3)
    expected = torch.rand(1)
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=3)
    quicken(net)
    assert torch.equal(torch.rand(1), expected)


def test_networks_that_take_other_pictures_stay():
    net = build_net("test_vit", 3)
    assert num_folded(net) == 0
    assert any(isinstance(module, FoldingConv2d) for module in net.modules())  # for its depthwise gradients, if any
    others = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    quicken(others)
    assert num_folded(others) == 0
