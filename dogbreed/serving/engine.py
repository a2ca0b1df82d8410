"""The network, made quick for answering.

BatchNorm layers are folded into the convolutions before them, once; on a CPU the convolutions are packed, too; a GPU
that has bfloat16 computes with it. What answers is compared with what was loaded, before bfloat16; where they differ,
the network as it was loaded answers.

Shape legend: B batch, S input side, K classes, D features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dogbreed.loaded_model import LoadedModel
from dogbreed.nets.features import has_separate_head
from dogbreed.nets.folding import bake
from dogbreed.serving.packing import pack

log = logging.getLogger(__name__)

# Of probabilities, as promised. What is computed in another order differs by a few millionths where a low temperature
# makes logits count (2.6e-6 at 0.2), a wrong fusion by thousands of times that. A GPU rounds its convolutions to TF32.
TOLERANCE, GPU_TOLERANCE = 1e-5, 1e-2


@dataclass
class Engine:
    """Runs a network.

    Args:
        model: Whose network it is.
        name: What was done to it.
        has_plain_head: Its logits are its last layer's answer to its features.
        is_bfloat16: Most of it is computed in 16 bits.
    """

    model: LoadedModel
    name: str
    has_plain_head: bool = False
    is_bfloat16: bool = False

    def __call__(self, images_BCSS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network once.

        Args:
            images_BCSS: Normalised pixels.

        Returns:
            ``(B, K)`` logits, ``(B, D)`` features as `logits_and_features` has them, and its last feature maps.
        """
        net = self.model.net
        with torch.autocast(images_BCSS.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            maps = net.forward_features(images_BCSS)  # type: ignore[operator]
            features = net.forward_head(maps, pre_logits=True)  # type: ignore[operator]
            if features.dim() > 2:  # pooled after a convolution as the last layer
                features = features.flatten(2).mean(dim=2)
            logits = net.get_classifier()(features) if self.has_plain_head else net.forward_head(maps)  # type: ignore[operator]
        return logits, features, maps


def build_engine(model: LoadedModel, load_again: Callable[[], LoadedModel]) -> Engine:
    """Make a network quick.

    Args:
        model: Its network is changed.
        load_again: Gives it as it was.

    Returns:
        With a model that answers as the given one does within `TOLERANCE`, on a GPU `GPU_TOLERANCE`, before bfloat16.
    """
    side, is_cpu = model.preprocessing.input_size_px, model.device.type == "cpu"
    generator = torch.Generator().manual_seed(0)
    probe = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator)
    expected_BK = model.probabilities(probe)
    engine = Engine(model, "eager")
    try:
        num_folded = bake(model.net)
        images = model.preprocessing.normalize(probe.to(model.device))
        num_packed = pack(model.net, images) if is_cpu else 0
        engine.name = f"eager, {num_folded} folded layers, {num_packed} packed"
        engine.has_plain_head = has_separate_head(model.net, side)
        with torch.inference_mode():
            found_BK = torch.softmax(engine(images)[0].float() / model.temperature, dim=1).cpu()
        is_same = torch.allclose(found_BK, expected_BK, rtol=0, atol=TOLERANCE if is_cpu else GPU_TOLERANCE)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        log.debug("%s", error)
        is_same = False
    if not is_same:
        log.warning("The quick form of the network answers otherwise than the network: it is served as it is.")
        return Engine(load_again(), "eager")
    if model.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        engine.is_bfloat16 = True
        engine.name += ", bfloat16"
    return engine
