"""Familiarity is a p-value for pictures of the same kind, and small for others."""

import pytest
import torch

from dogbreed.nets.backbone import build_net
from dogbreed.nets.familiarity import MAX_REFERENCES, UNLIKE_BELOW, Familiarity, reference_step
from dogbreed.nets.features import logits_and_features


def cluster(count, seed, directions=3, dims=32, noise=0.3):
    """Make features around a few directions."""
    centers = torch.randn(directions, dims, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(0, directions, (count,), generator=generator)
    return centers[chosen] + noise * torch.randn(count, dims, generator=generator)


@pytest.mark.parametrize(
    "architecture",
    [
        "test_resnet",
        "test_vit",
        "test_convnext",
        "test_byobnet",
        "test_efficientnet",
        "mobilenetv3_small_050",
        pytest.param("vgg11", marks=pytest.mark.slow),
    ],
)
def test_logits_are_those_of_the_network_and_features_go_into_its_last_layer(architecture):
    size_px = 160 if "test_" in architecture else 64
    net = build_net(architecture, 3, input_size_px=size_px).eval()
    images = torch.randn(2, 3, size_px, size_px)
    seen = []
    net.get_classifier().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        logits, features = logits_and_features(net, images)
        assert torch.equal(logits, net(images))
    assert torch.equal(features, seen[0].flatten(1))


def test_familiarity_of_the_same_kind_is_uniform_and_of_others_small():
    familiarity = Familiarity.of(cluster(500, seed=1), cluster(300, seed=4))
    same = familiarity(cluster(4000, seed=2))
    for level in (0.02, 0.1, 0.5, 0.9):
        assert float((same <= level).float().mean()) == pytest.approx(level, abs=0.05)
    other = familiarity(torch.randn(200, 32, generator=torch.Generator().manual_seed(3)))
    assert float((other < UNLIKE_BELOW).float().mean()) > 0.99
    assert float(other.min()) == pytest.approx(1 / 301)  # itself counts
    assert float(same.max()) <= 1


def test_scale_does_not_matter_and_direction_does():
    familiarity = Familiarity.of(cluster(150, seed=1), cluster(150, seed=4))
    some = cluster(20, seed=2)
    assert torch.equal(familiarity(some), familiarity(some * 100))
    assert float(familiarity(-some).max()) < UNLIKE_BELOW


def test_what_is_kept_answers_the_same():
    first = Familiarity.of(cluster(150, seed=1), cluster(150, seed=4))
    second = Familiarity(first.references_ND, first.similarities_M)
    some = cluster(50, seed=2)
    assert torch.equal(first.references_ND, second.references_ND)
    assert torch.equal(first(some), second(some))


def test_references_are_not_many():
    for count in (1, 512, 513, 1500, 1_000_000):
        num_references = len(range(0, count, reference_step(count)))
        assert min(count, MAX_REFERENCES / 2) <= num_references <= MAX_REFERENCES


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_held_out_pictures_say_little(count):
    familiarity = Familiarity.of(cluster(count, seed=1), cluster(count, seed=4))
    answer = familiarity(torch.randn(4, 32))
    assert float(answer.min()) >= 1 / (count + 1) > UNLIKE_BELOW


def test_nothing_to_compare_with():
    broken = torch.full((5, 4), torch.nan)
    assert Familiarity.of(broken, torch.ones(2, 4)) is None
    assert Familiarity.of(torch.ones(2, 4), broken) is None
    with pytest.raises(ValueError, match="0 references and 1 held-out pictures"):
        Familiarity(torch.ones(0, 4), torch.ones(1))
    with pytest.raises(ValueError, match="not finite"):
        Familiarity(torch.ones(2, 4), torch.full((1,), torch.inf))
