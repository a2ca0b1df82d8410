"""Familiarity is a p-value for pictures of the same kind, and small for others."""

import pytest
import torch

from dogbreed.nets.backbone import build_net
from dogbreed.nets.familiarity import MAX_REFERENCES, UNLIKE_BELOW, Familiarity, logits_and_features


def cluster(count, seed, directions=3, dims=32, noise=0.3):
    """Make features around a few directions."""
    centers = torch.randn(directions, dims, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(0, directions, (count,), generator=generator)
    return centers[chosen] + noise * torch.randn(count, dims, generator=generator)


@pytest.mark.parametrize(
    "architecture",
    ["test_resnet", "test_vit", "test_convnext", "test_byobnet", "test_efficientnet", "mobilenetv3_small_050", "vgg11"],
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
    familiarity = Familiarity(cluster(300, seed=1))
    same = familiarity(cluster(4000, seed=2))
    for level in (0.02, 0.1, 0.5, 0.9):
        assert float((same <= level).float().mean()) == pytest.approx(level, abs=0.05)
    other = familiarity(torch.randn(200, 32, generator=torch.Generator().manual_seed(3)))
    assert float((other < UNLIKE_BELOW).float().mean()) > 0.99
    assert float(other.min()) == pytest.approx(1 / 301)  # itself counts
    assert float(same.max()) <= 1


def test_scale_does_not_matter_and_direction_does():
    references = cluster(150, seed=1)
    familiarity = Familiarity(references)
    some = cluster(20, seed=2)
    assert torch.equal(familiarity(some), familiarity(some * 100))
    assert float(familiarity(-some).max()) < UNLIKE_BELOW


def test_what_is_kept_answers_the_same():
    first = Familiarity(cluster(150, seed=1))
    second = Familiarity(first.references_ND)
    some = cluster(50, seed=2)
    assert torch.equal(first.references_ND, second.references_ND)
    assert torch.equal(first(some), second(some))


def test_references_are_chosen_evenly_and_are_not_many():
    features = torch.eye(1500)
    references = Familiarity.of(features).references_ND
    assert len(references) == 500 <= MAX_REFERENCES
    assert torch.equal(references.float().argmax(1), torch.arange(0, 1500, 3))
    assert len(Familiarity.of(features[:512]).references_ND) == 512


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_references_say_little(count):
    familiarity = Familiarity.of(cluster(count, seed=1))
    answer = familiarity(torch.randn(4, 32))
    assert float(answer.min()) >= 1 / (count + 1) > UNLIKE_BELOW


def test_nothing_to_compare_with():
    assert Familiarity.of(torch.zeros(0, 4)) is None
    assert Familiarity.of(torch.ones(1, 4)) is None
    assert Familiarity.of(torch.full((5, 4), torch.nan)) is None
    with pytest.raises(ValueError, match="at least two rows of finite numbers"):
        Familiarity(torch.ones(1, 4))
