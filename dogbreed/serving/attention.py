"""Where the network looked: which places of its last feature map speak for the class that it names.

For a network that averages the last feature map and has one linear layer behind it, this is the class activation map of
Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, equation 2: the feature maps, weighted
with the class's weights. Its mean over all places is the class's logit, without the bias.

For any other head it is Grad-CAM, Selvaraju et al., ICCV 2017, equations 1 and 2, which for such a network is the same
but for a factor: the weights are the logit's derivatives by the feature maps, averaged over all places. Only the head
is gone through backwards, so that either is had from the forward pass that answers.

Transformers whose head reads one token alone have no such map: the other tokens of the last layer change nothing.

Shape legend: B batch, D features, h/w rows and columns of the last feature map, T tokens, K classes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["BDhw", "BhwD", "BTD"]


class Attention:
    """Makes maps for one network.

    Args:
        net: A timm network in evaluation mode.
        maps: What ``net.forward_features`` gives for some picture.

    Raises:
        ValueError: this network has no such map.
    """

    def __init__(self, net: nn.Module, maps: Tensor) -> None:
        self._net = net
        self._layout = _find_layout(net, maps)
        self._num_prefix = int(getattr(net, "num_prefix_tokens", 0)) if self._layout == "BTD" else 0
        self._linear = _linear_head(net, maps) if self._layout == "BDhw" else None
        if not self._is_read(maps):
            msg = "its head does not read the feature map"
            raise ValueError(msg)

    def __call__(self, maps: Tensor, classes_B: Tensor) -> Tensor:
        """Say how much each place speaks for a class.

        Args:
            maps: What ``net.forward_features`` has given.
            classes_B: Index of the class, for each picture.

        Returns:
            ``(B, h, w)`` float32 on the CPU, 0..1, scaled to the largest of each picture; nothing but 0 where no place
            speaks for the class.
        """
        if self._linear is not None:
            values_Bhw = torch.einsum("bdhw,bd->bhw", maps.float(), self._linear.weight[classes_B].float())
        else:
            values_Bhw = self._grad_cam(maps, classes_B)
        values_Bhw = values_Bhw.clamp(min=0)
        largest_B11 = values_Bhw.amax((1, 2), keepdim=True)
        scaled_Bhw = values_Bhw / torch.where(largest_B11 > 0, largest_B11, 1.0)
        return scaled_Bhw.nan_to_num(0.0, 0.0, 0.0).cpu()

    def _is_read(self, maps: Tensor) -> bool:
        """Say whether any logit depends on the map, apart from tokens that belong to no place."""
        classes = [torch.full((len(maps),), number, device=maps.device) for number in (0, 1)]
        return any(bool(self._gradients(maps, classes_B)[:, self._num_prefix :].any()) for classes_B in classes)

    def _grad_cam(self, maps: Tensor, classes_B: Tensor) -> Tensor:
        gradients = self._gradients(maps, classes_B).float()
        maps = maps.float()
        if self._layout == "BDhw":
            return torch.einsum("bdhw,bd->bhw", maps, gradients.mean((2, 3)))
        if self._layout == "BTD":
            maps, gradients = (_as_grid(tokens[:, self._num_prefix :]) for tokens in (maps, gradients))
        return torch.einsum("bhwd,bd->bhw", maps, gradients.mean((1, 2)))

    def _gradients(self, maps: Tensor, classes_B: Tensor) -> Tensor:
        """Return the derivatives of each picture's logit by its feature map."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = maps.clone().requires_grad_()
            logits_BK = self._net.forward_head(leaf)  # type: ignore[operator]
            chosen = logits_BK.gather(1, classes_B.clone()[:, None]).sum()
            return torch.autograd.grad(chosen, leaf)[0]


def _find_layout(net: nn.Module, maps: Tensor) -> Layout:
    features = int(net.num_features)  # type: ignore[arg-type]
    if maps.dim() == 4 and min(maps.shape[1:]) > 0:
        if maps.shape[1] == features and maps.shape[3] != features:
            return "BDhw"
        if maps.shape[3] == features and maps.shape[1] != features:
            return "BhwD"
    if maps.dim() == 3 and maps.shape[2] == features:
        _as_grid(maps[:, int(getattr(net, "num_prefix_tokens", 0)) :])
        return "BTD"
    msg = f"what it makes of a picture, {tuple(maps.shape)}, is no map of {features} features"
    raise ValueError(msg)


def _as_grid(tokens_BTD: Tensor) -> Tensor:
    side = math.isqrt(tokens_BTD.shape[1])
    if side == 0 or side * side != tokens_BTD.shape[1]:  # our pictures are square
        msg = f"its {tokens_BTD.shape[1]} tokens are no square"
        raise ValueError(msg)
    return tokens_BTD.reshape(len(tokens_BTD), side, side, -1)


def _linear_head(net: nn.Module, maps_BDhw: Tensor) -> nn.Linear | None:
    """Return the last layer where the network averages the map, applies this layer, and does nothing else."""
    layer = net.get_classifier()  # type: ignore[operator]
    if not isinstance(layer, nn.Linear) or layer.in_features != maps_BDhw.shape[1]:
        return None
    with torch.inference_mode():
        expected_BK = net.forward_head(maps_BDhw)  # type: ignore[operator]
        found_BK = layer(maps_BDhw.mean((2, 3)))
    close = torch.allclose(found_BK, expected_BK, rtol=1e-3, atol=1e-3 * float(expected_BK.abs().max() + 1e-6))
    return layer if close else None
