"""Rules about gradients, weights, updates and activations.

Sources of names, parameters and defaults: "List of Debugger built-in rules" in AWS's documentation of SageMaker. Shares
are in percent where they are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dogbreed.diagnosis.observations import Observation, TensorStats
from dogbreed.diagnosis.rule import Finding, Rule
from dogbreed.diagnosis.rules.among import find_many, find_some, lasting_ones

ALL = (0.0, 100.0)
ANY = (0.0, float("inf"))
COUNT = (1, float("inf"))


@dataclass
class VanishingGradient(Rule):
    """Fires when the mean absolute gradient of a layer's parameters falls below a threshold.

    Args:
        threshold: Mean absolute value below which a gradient counts as vanished.
        share: Percent of the tensors that must have vanished; AWS's rule fires at the first one.
        patience: Looks in a row; residual branches of a new network begin with a factor, and so a gradient, of 0.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "The signal does not get through to these layers: where weights or losses have grown huge, lower optim.lr; "
        "otherwise begin with pretrained weights (model.pretrained=true), or take a network with residual connections."
    )
    threshold: float = 1e-7
    share: float = 20.0
    patience: int = 2
    _vanished_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ANY, share=ALL, patience=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at gradients."""
        if not isinstance(seen, TensorStats) or seen.kind != "gradient":
            return None
        means = seen.columns["abs_mean"]
        lasting = lasting_ones(self._vanished_for, seen, means < self.threshold, self.patience)
        return find_many(seen, lasting, self.share, "mean absolute gradient", means)


@dataclass
class ExplodingTensor(Rule):
    """Fires when a tensor holds a number that is infinite or none at all.

    Args:
        only_nan: Let infinite ones pass.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Lower optim.lr, clip gradients (trainer.gradient_clip_val=1.0), or compute more exactly "
        "(trainer.precision=bf16-mixed or 32-true)."
    )
    only_nan: bool = False

    def look(self, seen: Observation) -> Finding | None:
        """Look at all tensors."""
        if not isinstance(seen, TensorStats) or "num_nan" not in seen.columns:
            return None
        counts = seen.columns["num_nan"] + (0 if self.only_nan else seen.columns.get("num_inf", 0))
        return find_some(seen, counts > 0, f"values of {seen.kind}s that are no numbers", counts)


@dataclass
class PoorWeightInitialization(Rule):
    """Fires in the first steps when layers' weights differ wildly in variance, or gradients do not spread at all.

    Args:
        threshold: Largest ratio of two layers' standard deviations of weights, each set against what He et al.
            ("Delving deep into rectifiers", 2015) give a layer of its size; AWS compares bare variances.
        distribution_range: Least spread of gradients (5 standard deviations); 0 lets it pass.
        patience: Looks in a row for gradients; residual branches of a new network have none in the first step.
        steps: How many of the first looks count.
    """

    advice: ClassVar[str] = (
        "Begin with pretrained weights (model.pretrained=true) or the architecture's own initialisation; "
        "check the file of model.weights."
    )
    threshold: float = 1e4
    distribution_range: float = 1e-9
    patience: int = 3
    steps: int = 10
    _num_looks: int = field(default=0, init=False)
    _flat_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ANY, distribution_range=ANY, patience=COUNT, steps=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at weights and gradients of the first steps."""
        if not isinstance(seen, TensorStats) or seen.kind not in ("weight", "gradient"):
            return None
        if seen.kind == "weight":
            self._num_looks += 1
        if self._num_looks > self.steps:
            return None
        spread = seen.columns["std"]
        if seen.kind == "gradient":
            lasting = lasting_ones(self._flat_for, seen, 5 * spread < self.distribution_range, self.patience)
            return find_many(seen, lasting, 50.0, "spread of gradients", spread)
        is_matrix = seen.columns["fan_in"] > 1
        relative = np.where(is_matrix, spread * np.sqrt(seen.columns["fan_in"] / 2), np.nan)
        if not is_matrix.any():
            return None
        low, high = int(np.nanargmin(relative)), int(np.nanargmax(relative))
        if relative[high] <= self.threshold * relative[low]:
            return None
        evidence = (
            f"weights of {seen.names[high]} have {relative[high]:.2g} times the spread that their size asks for, "
            f"those of {seen.names[low]} {relative[low]:.2g} times"
        )
        return Finding(seen.step, evidence, {"low": seen.names[low], "high": seen.names[high]})


@dataclass
class _BlindLayers(Rule):
    """Fires when too many channels of a layer have no gradient, whatever the picture.

    Args:
        threshold_layer: Percent of a layer's channels that must be so.
    """

    column: ClassVar[str]
    what: ClassVar[str]
    threshold_layer: float = 50.0

    def __post_init__(self) -> None:
        self._require(threshold_layer=ALL)

    def look(self, seen: Observation) -> Finding | None:
        """Look at activations."""
        if not isinstance(seen, TensorStats) or seen.kind != "activation":
            return None
        share_of = dict(zip(seen.names, 100 * np.nan_to_num(seen.columns[self.column]), strict=True))
        layers = [name for name, share in share_of.items() if share > self.threshold_layer]
        if not layers:
            return None
        worst = max(layers, key=share_of.__getitem__)
        more = f", and of {len(layers) - 1} more layers" if len(layers) > 1 else ""
        return Finding(seen.step, f"{share_of[worst]:.0f} % {self.what} in {worst}{more}", {"layers": layers})


@dataclass
class SaturatedActivation(_BlindLayers):
    """Fires when sigmoid or tanh layers give nothing but their limits, where they have no gradient.

    Args:
        threshold_layer: Percent of a layer's channels that must be saturated for every picture and place.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = "Lower optim.lr, or check that pixels are normalised as the weights expect (data)."
    column: ClassVar[str] = "saturated_share"
    what: ClassVar[str] = "of the channels are saturated"


@dataclass
class DeadRelu(_BlindLayers):
    """Fires when channels of a ReLU layer give 0 for every picture and place, and so have no gradient any more.

    Args:
        threshold_layer: Percent of a layer's channels that must be dead.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Lower optim.lr or warm up longer (optim.warmup_fraction), or take a network with another activation."
    )
    column: ClassVar[str] = "dead_share"
    what: ClassVar[str] = "of the channels give 0 for every picture"


@dataclass
class AllZero(Rule):
    """Fires when a tensor is nothing but zeros, apart from a head that has not begun.

    Args:
        threshold: Percent of zeros.
        patience: Looks in a row; a zero at the start, such as biases and residual branches have, soon goes away.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = "Nothing gets through here: look at model.weights, and at what was frozen (finetune.mode)."
    threshold: float = 100.0
    patience: int = 3
    _zero_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ALL, patience=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at gradients and activations."""
        if not isinstance(seen, TensorStats) or seen.kind not in ("gradient", "activation"):
            return None
        is_zero = 100 * seen.columns["zero_share"] >= self.threshold
        lasting = lasting_ones(self._zero_for, seen, is_zero, self.patience)
        return find_some(seen, lasting, f"share of zeros in {seen.kind}s", seen.columns["zero_share"])


@dataclass
class TensorVariance(Rule):
    """Fires when the variance of a gradient leaves its bounds.

    Args:
        max_threshold: Highest variance.
        min_threshold: Lowest variance; AWS's 1e-5 is far above what healthy gradients of deep networks have.
    """

    advice: ClassVar[str] = (
        "Gradients this large make steps of chance: lower optim.lr or set trainer.gradient_clip_val."
    )
    max_threshold: float = 10.0
    min_threshold: float = 0.0

    def __post_init__(self) -> None:
        self._require(max_threshold=ANY, min_threshold=(0.0, self.max_threshold))

    def look(self, seen: Observation) -> Finding | None:
        """Look at gradients."""
        if not isinstance(seen, TensorStats) or seen.kind != "gradient":
            return None
        variances = seen.columns["std"] ** 2
        is_out = (variances > self.max_threshold) | (variances < self.min_threshold)
        return find_some(seen, is_out, "variance of gradients", variances)


@dataclass
class UnchangedTensor(Rule):
    """Fires when weights that should learn do not change.

    Args:
        num_steps: Looks in a row.
        rtol: Largest change against the weights' mean size that counts as none.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = "These weights do not learn: raise optim.lr, or look at finetune.mode and the loss."
    num_steps: int = 3
    rtol: float = 1e-9
    _still_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(num_steps=COUNT, rtol=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at updates."""
        if not isinstance(seen, TensorStats) or seen.kind != "update":
            return None
        ratios = seen.columns["ratio"]
        lasting = lasting_ones(self._still_for, seen, ratios <= self.rtol, self.num_steps)
        return find_many(seen, lasting, 50.0, "change of weights in a step", ratios)


@dataclass
class WeightUpdateRatio(Rule):
    """Fires when a step changes weights by far too much or next to nothing, against their size.

    Args:
        large_threshold: Largest ratio of mean absolute update and weight; AWS's 10 is only reached by what explodes.
        small_threshold: Smallest ratio.
        num_steps: Looks in a row.
    """

    means_lost: ClassVar[bool] = True
    advice: ClassVar[str] = "A step should change weights by about a thousandth: change optim.lr accordingly."
    large_threshold: float = 0.5
    small_threshold: float = 1e-9
    num_steps: int = 2
    _out_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(large_threshold=ANY, small_threshold=(0.0, self.large_threshold), num_steps=COUNT)

    def look(self, seen: Observation) -> Finding | None:
        """Look at updates of matrices and kernels; biases begin at 0."""
        if not isinstance(seen, TensorStats) or seen.kind != "update":
            return None
        ratios = seen.columns["ratio"]
        is_out = (ratios > self.large_threshold) | (ratios < self.small_threshold)
        is_out &= seen.columns["fan_in"] > 1
        lasting = lasting_ones(self._out_for, seen, is_out, self.num_steps)
        return find_many(seen, lasting, 20.0, "ratio of update and weight", ratios)
