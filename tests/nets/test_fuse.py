"""A fused network answers bit for bit what its original does, and is made of plain parts."""

import pytest
import torch
from torch import nn

from dogbreed.nets.backbone import build_net
from dogbreed.nets.folding import fuse


def with_drawn_statistics(net):
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            module.running_mean.normal_(std=0.1, generator=generator)
    return net


@pytest.mark.parametrize("architecture", ["test_resnet", "mobilenetv3_small_100", "tf_efficientnet_b0", "test_vit"])
def test_a_fused_network_answers_the_same(architecture):
    net = with_drawn_statistics(build_net(architecture, 3, input_size_px=64)).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fused = fuse(net)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(fused(images), net(images))
        assert net(images).std() > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(type(module).__module__.startswith("dogbreed") for module in fused.modules())
    assert not any(parameter.requires_grad for parameter in fused.parameters())


def test_only_layers_behind_plain_convolutions_go():
    net = build_net("tf_efficientnet_b0", 3)  # some of its convolutions pad by the picture's size
    left = [sum(isinstance(module, nn.BatchNorm2d) for module in some.modules()) for some in (net, fuse(net))]
    assert left == [49, 5]


def test_a_network_in_training_is_fused_for_answering():
    net = with_drawn_statistics(build_net("test_resnet", 3)).train()
    fused = fuse(net)
    assert net.training
    assert not any(module.training for module in fused.modules())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(fused(images), net.eval()(images))
