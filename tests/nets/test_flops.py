"""What is counted as arithmetic."""

import timm
import torch
from torch import nn

from dogbreed.nets import flops
from dogbreed.nets.finetune import set_backbone_trainable
from dogbreed.nets.flops import peak_flops, training_flops

SIDE, FEATURES, CLASSES = 32, 8, 5
CONVOLUTION = 2 * SIDE * SIDE * FEATURES * 3 * 9  # two operations for each product


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, FEATURES, 3, padding=1, bias=False)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, images):
        return self.head(self.backbone(images).mean((2, 3)))


def test_forward_and_backward():
    linear = 2 * FEATURES * CLASSES
    # The pictures need no gradient: one more pass through the convolution, two through the head.
    assert training_flops(Small(), SIDE) == 2 * CONVOLUTION + 3 * linear


def test_what_is_frozen_has_no_backward_pass():
    net = Small()
    net.backbone.requires_grad_(False)
    assert training_flops(net, SIDE) == CONVOLUTION + 2 * 2 * FEATURES * CLASSES


def test_a_known_network():
    net = timm.create_model("resnet50", num_classes=1000)
    forward = training_flops_of_head(net)
    assert abs(forward / 8.2e9 - 1) < 0.02  # 4.1 billion multiply-adds (He et al., 2016; 3.8 without projections)
    assert 2.9 < training_flops(net, 224) / forward < 3.0


def training_flops_of_head(net):
    set_backbone_trainable(net, trainable=False)
    count = training_flops(net, 224)
    set_backbone_trainable(net, trainable=True)
    return count


def test_the_network_is_left_alone():
    net = Small()
    before = [parameter.clone() for parameter in net.parameters()]
    training_flops(net, SIDE)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(map(torch.equal, before, net.parameters()))


def test_peaks_are_those_of_known_gpus(monkeypatch):
    device = torch.device("cuda", 0)
    for name, tflops in (("NVIDIA H200", 989), ("NVIDIA A10G", 70), ("NVIDIA A10", 125), ("NVIDIA L4", 121),
                         ("NVIDIA L40S", 362), ("NVIDIA H100 PCIe", 756), ("Tesla T4", 65)):  # fmt: skip
        monkeypatch.setattr(flops.torch.cuda, "get_device_name", lambda _, name=name: name)
        assert peak_flops(device, "bf16-mixed") == tflops * 1e12
    assert peak_flops(device, "32-true") is None
    monkeypatch.setattr(flops.torch.cuda, "get_device_name", lambda _: "Something New")
    assert peak_flops(device, "bf16-mixed") is None
    assert peak_flops(torch.device("cpu"), "bf16-mixed") is None
