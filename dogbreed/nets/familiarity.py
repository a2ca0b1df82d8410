"""Say how much a picture is like those that a network was made for.

Softmax probabilities do not: a network of dog breeds is sure of some breed in a
picture of trousers. Features tell the two apart, logits hardly do. Measured with
MobileNetV2 on 20 dog breeds and 10 kinds of clothes, 280 and 341 validation pictures,
a linear head on frozen features; AUROC, then the share of the strange pictures that is
caught at a false alarm for 2 % of the validation pictures:

    ======================================  ============  ============  ============  ============
    score                                   dogs, shown   clothes,      15 breeds,    size
                                            clothes       shown dogs    shown 5 more
    ======================================  ============  ============  ============  ============
    largest probability                     0.992  0.93   0.939  0.15   0.821  0.19   n numbers
    logsumexp of the logits (energy) [1]    0.981  0.12   0.952  0.12   0.764  0.02   n numbers
    largest logit                           0.986  0.26   0.957  0.15   0.769  0.03   n numbers
    relative Mahalanobis on features [2]    0.999  0.99   0.980  0.97   0.708  0.02   13 MB
    relative Mahalanobis, 128 components    0.992  0.72   0.991  0.97   0.812  0.16   0.8 MB
    5th neighbour among training features   1.000  1.00   0.999  1.00   0.808  0.36   3.6 MB
    5th neighbour among validation ones     0.999  0.99   0.995  0.97   0.826  0.45   0.7 MB
    ======================================  ============  ============  ============  ============

With label smoothing the first three get worse still (energy: 0.865 and 0.828); the
features of a frozen backbone stay as they are. The last row [3] is what is used: it costs
no further pass over the training pictures, and leaving each picture out of its own
neighbours makes the validation pictures as strange to each other as new ones are to them.
Pixel noise escapes it in the model of clothes (AUROC 0.84), not in that of dogs (1.00).

[1] Liu et al., "Energy-based out-of-distribution detection", 2020.
[2] Ren et al., "A simple fix to Mahalanobis distance for improving near-OOD detection", 2021.
[3] Sun et al., "Out-of-distribution detection with deep nearest neighbors", 2022.

Shape legend: B batch, S input side, K classes, N reference pictures, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAX_REFERENCES = 512  # 1,280 features each are 1.3 MB
NUM_NEIGHBORS = 5
# One genuine picture in a hundred is called strange; on the test pictures above 0.021 and 0.030 were.
UNLIKE_BELOW = 0.01


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


class Familiarity:
    """Compare pictures with pictures that the network was not trained on but made for.

    A picture's similarity is the cosine between its features and those of the fifth
    nearest reference. Its familiarity is the share of the references, itself counted
    as one, that are at most as similar to the others: a conformal p-value, uniform in
    0..1 for pictures of the same kind, close to 0 for others.

    Args:
        references_ND: Features of held-out pictures, at least two, in any scale.

    Raises:
        ValueError: fewer than two references, or numbers that are not finite.
    """

    def __init__(self, references_ND: Tensor) -> None:
        if len(references_ND) < 2 or not references_ND.isfinite().all():
            msg = f"{tuple(references_ND.shape)} features, at least two rows of finite numbers are needed"
            raise ValueError(msg)
        # Half precision is what a model folder keeps: saved and loaded, it answers the same.
        self.references_ND = nn.functional.normalize(references_ND.cpu().float(), dim=1).half()
        self._num_neighbors = min(NUM_NEIGHBORS, len(references_ND) - 1)
        references = self.references_ND.float()
        cosines_NN = (references @ references.T).fill_diagonal_(-torch.inf)
        self._similarities_N = self._kth_largest(cosines_NN).sort().values

    @classmethod
    def of(cls, features_ND: Tensor) -> Familiarity | None:
        """Choose references among the features of a split; None where there is no choice."""
        step = reference_step(len(features_ND))
        references_ND = features_ND[::step]
        return cls(references_ND) if len(references_ND) > 1 and references_ND.isfinite().all() else None

    def __call__(self, features_BD: Tensor) -> Tensor:
        """Return the familiarity of each picture.

        Args:
            features_BD: What `logits_and_features` gives for pictures that are no references.

        Returns:
            ``(B,)`` in 0..1, float32, on the CPU, at least 1 / (N + 1).
        """
        features_BD = nn.functional.normalize(features_BD.cpu().float(), dim=1)
        similarity_B = self._kth_largest(features_BD @ self.references_ND.float().T)
        num_stranger_B = torch.searchsorted(self._similarities_N, similarity_B, right=True)
        return (1 + num_stranger_B) / (1 + len(self._similarities_N))

    def _kth_largest(self, cosines_BN: Tensor) -> Tensor:
        return cosines_BN.topk(self._num_neighbors, dim=1).values[:, -1].contiguous()


def reference_step(num_pictures: int) -> int:
    """Return n where every n-th picture of a split is a reference: pictures lie sorted by class."""
    return max(1, -(-num_pictures // MAX_REFERENCES))
