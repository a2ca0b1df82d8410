"""A timm network in two parts: pictures to features, features to logits.

Shape legend: B batch, S input side, K classes, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def logits_and_features(net: nn.Module, images_BCSS: Tensor) -> tuple[Tensor, Tensor]:
    """Run a timm network and return what goes into its last layer, too.

    No hooks, so that threads can share the network.

    Args:
        net: A timm network in evaluation mode.
        images_BCSS: Normalised pixels.

    Returns:
        ``(B, K)`` logits, the same as ``net(images_BCSS)``, and ``(B, D)`` features.
    """
    maps = net.forward_features(images_BCSS)  # type: ignore[operator]
    features = net.forward_head(maps, pre_logits=True)  # type: ignore[operator]
    if features.dim() > 2:  # pooled after a convolution as the last layer
        features = features.flatten(2).mean(dim=2)
    return net.forward_head(maps), features  # type: ignore[operator]


def logits_of_features(net: nn.Module, features_BD: Tensor) -> Tensor:
    """Run the last layer alone, with the dropout before it while training.

    Args:
        net: A network of which `has_separate_head` is true.
        features_BD: What `logits_and_features` gives.

    Returns:
        ``(B, K)`` logits.
    """
    if net.training:
        features_BD = _dropout(features_BD, float(getattr(net, "drop_rate", 0.0)))
    return net.get_classifier()(features_BD)  # type: ignore[operator, no-any-return]


def _dropout(features_BD: Tensor, probability: float) -> Tensor:
    """Drop features as torch does, to the last bit; on a CPU in two thirds of its time."""
    if features_BD.device.type != "cpu" or not probability:
        return nn.functional.dropout(features_BD, probability)
    kept_BD = torch.rand(features_BD.shape, dtype=torch.float64) < 1 - probability
    return features_BD * kept_BD.to(features_BD.dtype).div_(1 - probability)


@torch.no_grad()
def has_separate_head(net: nn.Module, input_size_px: int) -> bool:
    """Say whether a network's logits are its last layer's answer to its features; convolutions as a head are none.

    Args:
        net: A timm network, on any device; its mode stays as it is.
        input_size_px: S.
    """
    was_training = net.training
    net.eval()
    example = next(net.parameters())
    images = torch.linspace(-1, 1, 3 * input_size_px**2, device=example.device, dtype=example.dtype)
    try:
        logits_BK, features_BD = logits_and_features(net, images.view(1, 3, input_size_px, input_size_px))
        return torch.allclose(logits_of_features(net, features_BD), logits_BK, atol=1e-4)
    except (RuntimeError, TypeError, AttributeError):
        return False
    finally:
        net.train(was_training)
