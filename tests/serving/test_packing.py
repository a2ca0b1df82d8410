"""Packed convolutions compute what those that they stand for do."""

import pytest
import torch
from served import save_tiny, tiny_net
from torch import nn

from dogbreed.model_folder import load_model
from dogbreed.nets.folding import bake
from dogbreed.serving import engine as engine_module
from dogbreed.serving.packing import PackedConv2d, pack
from dogbreed.serving.predictor import Predictor

COUNTS = {
    "test_resnet": (15, 15, 8),
    "mobilenetv2_035": (52, 52, 35),
    "mobilenetv3_small_050": (34, 52, 32),
}


def network(name, side=64):
    net = tiny_net(name, side)
    return net.to(memory_format=torch.channels_last), torch.randn(2, 3, side, side).to(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035", "mobilenetv3_small_050"])
def test_folded_and_packed_networks_answer_the_same(name):
    net, images = network(name)
    with torch.inference_mode():
        maps, logits = net.forward_features(images), net(images)
        num_folded = bake(net)
        num_packed = pack(net, images)
        packed = [module for module in net.modules() if isinstance(module, PackedConv2d)]
        num_activated = sum(module._attribute[0] != "none" for module in packed)
        torch.testing.assert_close(net.forward_features(images), maps, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(net(images), logits, rtol=1e-4, atol=1e-4)
        for size in (1, 3, 7):
            more = torch.randn(size, 3, 64, 64).to(memory_format=torch.channels_last)
            one_by_one = torch.cat([net(image[None]) for image in more])
            torch.testing.assert_close(net(more), one_by_one, rtol=1e-4, atol=1e-4)
    assert (num_folded, num_packed, num_activated) == COUNTS[name]
    assert num_packed == len(packed)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


class Twice(nn.Module):
    """Layers that are called twice, whose output goes elsewhere, too, or that are no plain convolutions."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.same = nn.Conv2d(3, 3, 3, padding="same")
        self.mirrored = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.relu, self.shared_relu, self.gelu = nn.ReLU(), nn.ReLU(), nn.GELU()

    def forward_features(self, x):
        x = self.shared(self.shared(x))
        x = self.shared_relu(self.shared_relu(self.first(x)))
        x = self.gelu(self.second(x))
        x = self.mirrored(self.same(x))
        return self.relu(self.third(x))


def test_layers_that_cannot_be_packed_stay():
    torch.manual_seed(0)
    net, images = Twice().eval(), torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = net.forward_features(images)
        assert pack(net, images) == 3
        torch.testing.assert_close(net.forward_features(images), expected)
    kinds = {name: type(module).__name__ for name, module in net.named_children()}
    packed = {name for name, kind in kinds.items() if kind == "PackedConv2d"}
    assert packed == {"first", "second", "third"}
    assert (kinds["relu"], kinds["shared_relu"]) == ("Identity", "ReLU")


def test_an_older_torch_packs_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(engine_module, "pack", lambda *_: 0)
    folder = save_tiny(tmp_path / "model")
    predictor = Predictor.load(folder, "cpu")
    assert predictor.describe()["engine"] == "eager, 15 folded layers, 0 packed"


@pytest.mark.parametrize(
    "failure", [RuntimeError("could not create a primitive"), AttributeError("_convolution_pointwise")]
)
def test_what_fails_while_it_is_made_quick_is_served_as_it_is(failure, monkeypatch, tmp_path, caplog):
    def fail(*_):
        raise failure

    monkeypatch.setattr(engine_module, "pack", fail)
    folder = save_tiny(tmp_path / "model")
    predictor = Predictor.load(folder, "cpu")
    assert predictor.describe()["engine"] == "eager"
    assert "served as it is" in caplog.text
    views = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        images = predictor._model.preprocessing.normalize(views)
        logits = predictor._engine(images)[0]
    expected = load_model(folder).probabilities(views)
    torch.testing.assert_close(torch.softmax(logits / 1.3, 1), expected)
