"""The rules, by the names that AWS gives them."""

from dogbreed.diagnosis.rules.performance import Dataloader, MaxInitializationTime, StepOutlier
from dogbreed.diagnosis.rules.progress import SimilarAcrossRuns, StalledTraining
from dogbreed.diagnosis.rules.system import (
    BatchSize,
    CpuBottleneck,
    GpuMemoryIncrease,
    IoBottleneck,
    LoadBalancing,
    LowGpuUtilization,
    OverallSystemUsage,
)
from dogbreed.diagnosis.rules.tensors import (
    AllZero,
    DeadRelu,
    ExplodingTensor,
    PoorWeightInitialization,
    SaturatedActivation,
    TensorVariance,
    UnchangedTensor,
    VanishingGradient,
    WeightUpdateRatio,
)
from dogbreed.diagnosis.rules.training import (
    CheckInputImages,
    ClassImbalance,
    Confusion,
    LossNotDecreasing,
    Overfit,
    Overtraining,
)

__all__ = [
    "AllZero",
    "BatchSize",
    "CheckInputImages",
    "ClassImbalance",
    "Confusion",
    "CpuBottleneck",
    "Dataloader",
    "DeadRelu",
    "ExplodingTensor",
    "GpuMemoryIncrease",
    "IoBottleneck",
    "LoadBalancing",
    "LossNotDecreasing",
    "LowGpuUtilization",
    "MaxInitializationTime",
    "OverallSystemUsage",
    "Overfit",
    "Overtraining",
    "PoorWeightInitialization",
    "SaturatedActivation",
    "SimilarAcrossRuns",
    "StalledTraining",
    "StepOutlier",
    "TensorVariance",
    "UnchangedTensor",
    "VanishingGradient",
    "WeightUpdateRatio",
]
