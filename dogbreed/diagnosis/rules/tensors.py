"""Rules about gradients, weights, updates and activations.

Sources of names, parameters and defaults: "List of Debugger built-in rules" in AWS's documentation of SageMaker. Shares
are in percent where they are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dogbreed.diagnosis.observations import Numbers, Observation, TensorStats
from dogbreed.diagnosis.rule import Finding, Rule

ALL = (0.0, 100.0)
ANY = (0.0, float("inf"))
# As many layers are named as one can look at.
NAMED = 3


@dataclass
class VanishingGradient(Rule):
    """Fires when the mean absolute gradient of a layer's parameters falls below a threshold.

    Args:
        threshold: Mean absolute value below which a gradient counts as vanished.
        share: Percent of the tensors that must have vanished; AWS's rule fires at the first one.
        patience: Looks in a row; residual branches of a new network begin with a factor, and so a gradient, of 0.
    """

    advice: ClassVar[str] = (
        "The signal does not get through to these layers: raise optim.lr, begin with pretrained weights "
        "(model.pretrained=true), or take a network with residual connections."
    )
    threshold: float = 1e-7
    share: float = 20.0
    patience: int = 2
    _vanished_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ANY, share=ALL, patience=(1, float("inf")))

    def look(self, seen: Observation) -> Finding | None:
        """Look at gradients."""
        if not isinstance(seen, TensorStats) or seen.kind != "gradient":
            return None
        means = seen.columns["abs_mean"]
        lasting = _lasting(self._vanished_for, seen, means < self.threshold, self.patience)
        return _many(seen, lasting, self.share, "mean absolute gradient", means)


@dataclass
class ExplodingTensor(Rule):
    """Fires when a tensor holds a number that is infinite or none at all.

    Args:
        only_nan: Let infinite ones pass.
    """

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
        return _some(seen, counts > 0, f"values of {seen.kind}s that are no numbers", counts)


@dataclass
class PoorWeightInitialization(Rule):
    """Fires in the first steps when layers' weights differ wildly in variance, or gradients do not spread at all.

    Args:
        threshold: Largest ratio of two layers' standard deviations of weights, each set against what He et al.
            ("Delving deep into rectifiers", 2015) give a layer of its size; AWS compares bare variances.
        distribution_range: Least spread of gradients (5 standard deviations); 0 lets it pass.
        steps: How many of the first looks count.
    """

    advice: ClassVar[str] = (
        "Begin with pretrained weights (model.pretrained=true) or the architecture's own initialisation; "
        "check the file of model.weights."
    )
    threshold: float = 1e4
    distribution_range: float = 1e-9
    steps: int = 10
    _num_looks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ANY, distribution_range=ANY, steps=(1, float("inf")))

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
            return _many(seen, 5 * spread < self.distribution_range, 50.0, "spread of gradients", spread)
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
class SaturatedActivation(Rule):
    """Fires when sigmoid or tanh layers give nothing but their limits, where they have no gradient.

    Args:
        threshold_layer: Percent of a layer's channels that must be saturated for every picture and place.
    """

    advice: ClassVar[str] = "Lower optim.lr, or check that pixels are normalised as the weights expect (data)."
    threshold_layer: float = 50.0

    def __post_init__(self) -> None:
        self._require(threshold_layer=ALL)

    def look(self, seen: Observation) -> Finding | None:
        """Look at activations."""
        return _inactive(seen, "saturated_share", self.threshold_layer, "of the channels are saturated")


@dataclass
class DeadRelu(Rule):
    """Fires when channels of a ReLU layer give 0 for every picture and place, and so have no gradient any more.

    Args:
        threshold_layer: Percent of a layer's channels that must be dead.
    """

    advice: ClassVar[str] = (
        "Lower optim.lr or warm up longer (optim.warmup_share), or take a network with another activation."
    )
    threshold_layer: float = 50.0

    def __post_init__(self) -> None:
        self._require(threshold_layer=ALL)

    def look(self, seen: Observation) -> Finding | None:
        """Look at activations."""
        return _inactive(seen, "dead_share", self.threshold_layer, "of the channels give 0 for every picture")


@dataclass
class AllZero(Rule):
    """Fires when a tensor is nothing but zeros, apart from a head that has not begun.

    Args:
        threshold: Percent of zeros.
        patience: Looks in a row; a zero at the start, such as biases and residual branches have, soon goes away.
    """

    advice: ClassVar[str] = "Nothing gets through here: look at model.weights, and at what was frozen (finetune.mode)."
    threshold: float = 100.0
    patience: int = 3
    _zero_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(threshold=ALL, patience=(1, float("inf")))

    def look(self, seen: Observation) -> Finding | None:
        """Look at gradients and activations."""
        if not isinstance(seen, TensorStats) or seen.kind not in ("gradient", "activation"):
            return None
        is_zero = 100 * seen.columns["zero_share"] >= self.threshold
        lasting = _lasting(self._zero_for, seen, is_zero, self.patience)
        return _some(seen, lasting, f"share of zeros in {seen.kind}s", seen.columns["zero_share"])


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
        return _some(seen, is_out, "variance of gradients", variances)


@dataclass
class UnchangedTensor(Rule):
    """Fires when weights that should learn do not change.

    Args:
        num_steps: Looks in a row.
        rtol: Largest change against the weights' mean size that counts as none.
    """

    advice: ClassVar[str] = "These weights do not learn: raise optim.lr, or look at finetune.mode and the loss."
    num_steps: int = 3
    rtol: float = 1e-9
    _still_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(num_steps=(1, float("inf")), rtol=ANY)

    def look(self, seen: Observation) -> Finding | None:
        """Look at updates."""
        if not isinstance(seen, TensorStats) or seen.kind != "update":
            return None
        ratios = seen.columns["ratio"]
        lasting = _lasting(self._still_for, seen, ratios <= self.rtol, self.num_steps)
        return _many(seen, lasting, 50.0, "change of weights in a step", ratios)


@dataclass
class WeightUpdateRatio(Rule):
    """Fires when a step changes weights by far too much or next to nothing, against their size.

    Args:
        large_threshold: Largest ratio of mean absolute update and weight; AWS's 10 is only reached by what explodes.
        small_threshold: Smallest ratio.
        num_steps: Looks in a row.
    """

    advice: ClassVar[str] = "A step should change weights by about a thousandth: change optim.lr accordingly."
    large_threshold: float = 0.5
    small_threshold: float = 1e-9
    num_steps: int = 2
    _out_for: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._require(large_threshold=ANY, small_threshold=(0.0, self.large_threshold), num_steps=(1, float("inf")))

    def look(self, seen: Observation) -> Finding | None:
        """Look at updates of matrices and kernels; biases begin at 0."""
        if not isinstance(seen, TensorStats) or seen.kind != "update":
            return None
        ratios = seen.columns["ratio"]
        is_out = (ratios > self.large_threshold) | (ratios < self.small_threshold)
        is_out &= seen.columns["fan_in"] > 1
        lasting = _lasting(self._out_for, seen, is_out, self.num_steps)
        return _many(seen, lasting, 20.0, "ratio of update and weight", ratios)


def _inactive(seen: Observation, column: str, threshold: float, what: str) -> Finding | None:
    if not isinstance(seen, TensorStats) or seen.kind != "activation":
        return None
    shares = 100 * np.nan_to_num(seen.columns[column])
    worst = int(shares.argmax()) if len(shares) else -1
    if worst < 0 or shares[worst] <= threshold:
        return None
    layers = [name for name, share in zip(seen.names, shares, strict=True) if share > threshold]
    more = f", and of {len(layers) - 1} more layers" if len(layers) > 1 else ""
    return Finding(seen.step, f"{shares[worst]:.0f} % {what} in {seen.names[worst]}{more}", {"layers": layers})


def _lasting(looks: dict[str, int], seen: TensorStats, is_wrong: Any, patience: int) -> Any:
    """Count in how many looks in a row each tensor was wrong, and say for which it was in enough of them."""
    keys = [f"{seen.kind} {name}" for name in seen.names]
    for key, wrong in zip(keys, is_wrong, strict=True):
        looks[key] = looks.get(key, 0) + 1 if wrong else 0
    return np.array([looks[key] >= patience for key in keys])


def _some(seen: TensorStats, is_wrong: Any, what: str, values: Numbers) -> Finding | None:
    """Make a finding if anything is wrong."""
    return _many(seen, is_wrong, 0.0, what, values)


def _many(seen: TensorStats, is_wrong: Any, share: float, what: str, values: Numbers) -> Finding | None:
    """Make a finding if more than a percentage of the tensors is wrong."""
    names = [name for name, wrong in zip(seen.names, is_wrong, strict=True) if wrong]
    if not names or 100 * len(names) < share * len(seen.names):
        return None
    value_of = dict(zip(seen.names, (float(value) for value in values), strict=True))
    shown = ", ".join(f"{name} {value_of[name]:.2g}" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    found = {name: value_of[name] for name in names}
    return Finding(seen.step, f"{what}: {shown}{more} ({len(names)} of {len(seen.names)} tensors)", {"tensors": found})
