"""Networks whose layers timm does not number."""

import pytest

from dogbreed import FinetuneSettings, OptimSettings, UserError
from dogbreed.nets.backbone import build_net
from dogbreed.nets.optim import build_param_groups


def test_a_network_without_known_layers():
    net = build_net("poolformerv2_s12", 3)
    groups = build_param_groups(net, OptimSettings(), FinetuneSettings("full"))
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    with pytest.raises(UserError, match="finetune=layer_decay needs to know the layers"):
        build_param_groups(net, OptimSettings(), FinetuneSettings("layer_decay"))
