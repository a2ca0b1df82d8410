"""Where the network looked, by formulas that can be checked."""

import pytest
import torch
from served import encoded, picture, save_tiny, tiny_net

from dogbreed.nets.features import logits_and_features
from dogbreed.serving.attention import Attention
from dogbreed.serving.predictor import Predictor


def maps_of(net, side, count=3):
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return images, net.forward_features(images)


def test_class_activation_map_adds_up_to_the_logit():
    net = tiny_net("test_resnet", 128)
    images, maps = maps_of(net, 128)
    classes = torch.tensor([2, 0, 1])
    weights = net.get_classifier().weight[classes]
    with torch.inference_mode():
        values = torch.einsum("bdhw,bd->bhw", maps, weights)
        logits = net(images).gather(1, classes[:, None])[:, 0] - net.get_classifier().bias[classes]
        torch.testing.assert_close(values.mean((1, 2)), logits, rtol=1e-4, atol=1e-5)
        found = Attention(net, maps)(maps, classes)
    assert found.shape == (3, 4, 4)
    wanted = values.clamp(min=0)
    torch.testing.assert_close(found, wanted / wanted.amax((1, 2), keepdim=True), rtol=1e-4, atol=1e-5)
    assert found.amax((1, 2)).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert not torch.equal(found[0], found[1])


def test_grad_cam_of_a_linear_head_is_the_same_map():
    net = tiny_net("test_resnet", 128)
    _, maps = maps_of(net, 128)
    classes = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        attention = Attention(net, maps)
        assert attention._linear is not None
        by_weights = attention(maps, classes)
        attention._linear = None
        torch.testing.assert_close(attention(maps, classes), by_weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "side", "grid"),
    [
        ("mobilenetv3_small_050", 128, 4),
        ("test_convnext", 128, 4),
        ("test_vit4", 160, 10),
        ("swin_tiny_patch4_window7_224", 224, 7),
    ],
)
def test_other_heads_by_the_derivative(architecture, side, grid):
    """The derivative along the map itself is what moving it a little changes of the logit."""
    net = tiny_net(architecture, side, num_classes=10)
    _, maps = maps_of(net, side, 2)
    classes = torch.tensor([1, 2])
    with torch.inference_mode():
        attention = Attention(net, maps)
        found = torch.cat([attention(maps, torch.full((2,), number)) for number in range(10)])
    assert attention._linear is None
    assert found.shape == (20, grid, grid)
    assert float(found.min()) >= 0
    assert set(found.amax((1, 2)).tolist()) | {0.0} == {0.0, 1.0}  # 0 where no place speaks for a class
    head = net.double()
    exact = maps.double().clone()
    gradients = attention._gradients(exact, classes)
    step = 1e-5
    with torch.no_grad():
        logits = [head.forward_head(exact * (1 + sign * step)).gather(1, classes[:, None])[:, 0] for sign in (1, -1)]
    torch.testing.assert_close(
        (gradients * exact).flatten(1).sum(1), (logits[0] - logits[1]) / (2 * step), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("architecture", ["test_vit", "deit_tiny_distilled_patch16_224"])
def test_a_head_that_reads_one_token_has_no_map(architecture):
    side = 224 if "224" in architecture else 160
    net = tiny_net(architecture, side)
    _, maps = maps_of(net, side, 1)
    with torch.inference_mode(), pytest.raises(ValueError, match="does not read the feature map"):
        Attention(net, maps)


def test_such_a_model_says_null(tmp_path):
    predictor = Predictor.load(save_tiny(tmp_path / "model", "test_vit", 160, familiarity=None), "cpu")
    assert predictor.describe()["explains"] is False
    answer = predictor.predict_batch([predictor.view(encoded())], explain=True)[0]
    assert answer.to_dict()["explanation"] is None


def test_no_place_that_speaks_for_the_class_gives_zeros():
    net = tiny_net("test_resnet", 128)
    _, maps = maps_of(net, 128, 1)
    with torch.inference_mode():
        attention = Attention(net, maps)
        with torch.no_grad():
            net.get_classifier().weight.copy_(-net.get_classifier().weight.abs())
        assert attention(maps.abs(), torch.tensor([0])).unique().tolist() == [0.0]
        assert attention(maps * float("nan"), torch.tensor([0])).unique().tolist() == [0.0]


def test_the_map_is_of_the_place_that_matters(tmp_path):
    """A network whose only feature is how red a place is looks at the red corner."""
    predictor = Predictor.load(save_tiny(tmp_path / "model", "test_resnet", 128), "cpu")
    views = [predictor.view(encoded(picture(seed, (128, 128)), "PNG")) for seed in range(4)]
    plain = predictor.predict_batch(views)
    explained = predictor.predict_batch(views, explain=True)
    assert [answer.prediction for answer in explained] == [answer.prediction for answer in plain]
    for answer, view in zip(explained, views, strict=True):
        assert len(answer.explanation.grid) == 4
        assert max(map(max, answer.explanation.grid)) == 1.0
        assert answer.explanation.label == answer.prediction.labels[0]
        assert answer.explanation.crop == view.crop


def test_features_and_logits_are_those_of_the_library(tmp_path):
    predictor = Predictor.load(save_tiny(tmp_path / "model", "mobilenetv3_small_050", 64), "cpu")
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        logits, features, _ = predictor._engine(images)
        wanted = logits_and_features(predictor._model.net, images)
    torch.testing.assert_close((logits, features), wanted)
