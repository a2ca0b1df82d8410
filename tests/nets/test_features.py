"""A network in two parts: what its head makes of features, alone."""

import pytest
import torch
from torch import nn

from dogbreed.nets.backbone import build_net
from dogbreed.nets.features import logits_of_features


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.75])
def test_a_head_drops_what_torch_would_drop(probability):
    net = build_net("test_resnet", 3, dropout=probability).train()
    head = net.get_classifier()
    features_BD = torch.randn(8, head.in_features)
    torch.manual_seed(7)
    found = logits_of_features(net, features_BD)
    after = torch.get_rng_state()
    torch.manual_seed(7)
    expected = head(nn.functional.dropout(features_BD, probability))
    assert torch.equal(found, expected)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(logits_of_features(net.eval(), features_BD), head(features_BD))
