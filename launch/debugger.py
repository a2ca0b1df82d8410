"""What a job tells Amazon's Debugger and Profiler: DebugHookConfig, their built-in rules, ProfilerConfig.

None is the default: Amazon closed Debugger to new customers on 2026-07-30 and ends its profiler on 2027-06-30
(https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-availability-change.html). Rules of the same names run in the
process of every job (`dogbreed.diagnosis`), whatever is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launch.names import JobPlaces
    from launch.settings import LaunchSettings

WHY_NONE = (
    "Amazon's Debugger: none (closed to new customers since 2026-07-30; our own rules run in the job); "
    "launch/debugger=smdebug for accounts that have it."
)
# Amazon's built-in rules that make sense for images and networks, by the name of `rule_to_invoke`:
# https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html
RULES = (
    "AllZero",
    "CheckInputImages",
    "ClassImbalance",
    "Confusion",
    "DeadRelu",
    "ExplodingTensor",
    "LossNotDecreasing",
    "Overfit",
    "Overtraining",
    "PoorWeightInitialization",
    "SaturatedActivation",
    "SimilarAcrossRuns",
    "StalledTrainingRule",
    "TensorVariance",
    "UnchangedTensor",
    "VanishingGradient",
    "WeightUpdateRatio",
)
# https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-profiler-rules.html
PROFILER_RULES = (
    "BatchSize",
    "CPUBottleneck",
    "Dataloader",
    "GPUMemoryIncrease",
    "IOBottleneck",
    "LoadBalancing",
    "LowGPUUtilization",
    "MaxInitializationTime",
    "OverallSystemUsage",
    "ProfilerReport",
    "StepOutlier",
)
PROFILER_INTERVALS_MS = (100, 200, 500, 1000, 5000, 60_000)
MAX_RULES, MAX_PARAMETERS, MAX_CHARS = 20, 20, 256
_KEYS = ("rules", "profiler", "profiler_interval_ms", "profiler_rules")
# smdebug's compiled protobuf code is older than the containers' protobuf.
ENVIRONMENT = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}


@dataclass(frozen=True)
class DebuggerRequest:
    """The parts of a CreateTrainingJob request that are Debugger's.

    Args:
        fields: By the API's names; ``ProfilerConfig`` is always there, since its absence switches the profiler on.
        environment: Variables of the job.
    """

    fields: Mapping[str, Any] = field(default_factory=lambda: {"ProfilerConfig": {"DisableProfiler": True}})
    environment: Mapping[str, str] = field(default_factory=dict)


def debugger_request(
    cfg: DictConfig, settings: LaunchSettings, places: JobPlaces, rule_image: str, *, num_devices: int
) -> DebuggerRequest:
    """Put together what a job says to Amazon's Debugger.

    Args:
        cfg: The composed configuration; ``diagnose.hook`` says what is saved.
        settings: ``launch.debugger`` says which rules look at it.
        places: Where the job's files go.
        rule_image: Address of the region's image with Amazon's rules.
        num_devices: Devices of the job, on all machines.

    Raises:
        UserError: a key, a rule or a parameter is not one of Amazon's, or two keys contradict each other.
    """
    if settings.debugger is None:
        return DebuggerRequest()
    check_debugger(cfg, settings, num_devices=num_devices)
    chosen = settings.debugger
    fields: dict[str, Any] = {"DebugHookConfig": _hook_config(cfg.diagnose.hook, places)}
    rules = _rules(chosen.get("rules"), "rules", RULES, rule_image)
    if rules:
        fields["DebugRuleConfigurations"] = rules
    fields["ProfilerConfig"] = {"DisableProfiler": True}
    if chosen.get("profiler"):
        interval_ms = chosen.get("profiler_interval_ms", 500)
        if interval_ms not in PROFILER_INTERVALS_MS:
            valid = ", ".join(map(str, PROFILER_INTERVALS_MS))
            msg = f"launch.debugger.profiler_interval_ms={interval_ms} does not exist. Valid: {valid}."
            raise UserError(msg)
        fields["ProfilerConfig"] = {
            "DisableProfiler": False,
            "S3OutputPath": places.profiler,
            "ProfilingIntervalInMilliseconds": interval_ms,
        }
        profiler_rules = _rules(chosen.get("profiler_rules"), "profiler_rules", PROFILER_RULES, rule_image)
        if profiler_rules:
            fields["ProfilerRuleConfigurations"] = profiler_rules
    return DebuggerRequest(fields, dict(ENVIRONMENT))


def check_debugger(cfg: DictConfig, settings: LaunchSettings, *, num_devices: int) -> None:
    """Refuse what Amazon's Debugger cannot do.

    Raises:
        UserError: names the key and the remedy.
    """
    for key in settings.debugger or ():
        if key not in _KEYS:
            msg = f"launch.debugger.{key} does not exist. {did_you_mean(key, _KEYS)}"
            raise UserError(msg)
    if cfg.diagnose.get("hook") is None:
        msg = "launch/debugger=smdebug without diagnose/hook=smdebug has nothing to look at: leave one of them out."
        raise UserError(msg)
    if num_devices > 1 and settings.checkpoints:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-considerations.html
        msg = (
            f"launch/debugger=smdebug does not work with both {num_devices} devices and checkpoints in S3: use "
            "launch/debugger=none (our own rules run in the job), or launch.checkpoints=false."
        )
        raise UserError(msg)


def refuse_for_tuning(settings: LaunchSettings) -> None:
    """Refuse Amazon's Debugger for a tuning job, whose definition in the API has no place for it.

    Raises:
        UserError: ``launch.debugger`` is set.
    """
    if settings.debugger is not None:
        msg = (
            "launch/debugger=smdebug cannot be combined with a tuning job, whose API has no place for it: use "
            "launch/debugger=none; our own rules run in each of its jobs."
        )
        raise UserError(msg)


def _hook_config(hook: Any, places: JobPlaces) -> dict[str, Any]:
    """Say in the API's words what ``diagnose.hook`` says; in a job this stands in the hook's place."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(hook, resolve=True)
    assert isinstance(values, dict)
    collections = values.pop("collections", None) or {}
    # A job's place is here, and TensorBoard's is TensorBoardOutputConfig.
    ours = ("_target_", "out_dir", "scalars", "export_tensorboard")
    parameters = _texts({key: value for key, value in values.items() if key not in ours}, "diagnose.hook")
    chosen: list[dict[str, Any]] = []
    for name, own in collections.items():
        if own is None:
            continue
        entry: dict[str, Any] = {"CollectionName": str(name)}
        texts = _texts(own, f"diagnose.hook.collections.{name}")
        chosen.append(entry | ({"CollectionParameters": texts} if texts else {}))
    config: dict[str, Any] = {"S3OutputPath": places.debug}
    if parameters:
        config["HookParameters"] = parameters
    if chosen:
        config["CollectionConfigurations"] = chosen
    return config


def _rules(rules: Any, key: str, known: tuple[str, ...], image: str) -> list[dict[str, Any]]:
    found = []
    for name, parameters in (rules or {}).items():
        where = f"launch.debugger.{key}.{name}"
        if name not in known:
            msg = f"{where} is none of Amazon's built-in rules. {did_you_mean(str(name), known)}".strip()
            raise UserError(msg)
        if parameters is None:
            continue
        texts = {"rule_to_invoke": str(name), **_texts(parameters, where)}
        found.append({"RuleConfigurationName": str(name), "RuleEvaluatorImage": image, "RuleParameters": texts})
    if len(found) > MAX_RULES:
        msg = f"launch.debugger.{key} has {len(found)}, and a job takes at most {MAX_RULES}."
        raise UserError(msg)
    return found


def _texts(parameters: Any, where: str) -> dict[str, str]:
    """Write parameters as texts, as the API takes them; null ones are left out, an empty list says nothing."""
    if not isinstance(parameters, Mapping):
        msg = f"{where}={parameters} must be a mapping of parameters; {{}} for Amazon's own values."
        raise UserError(msg)
    texts = {}
    for key, value in parameters.items():
        if value is None or value == []:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        name = "eval.save_interval" if key == "eval_save_interval" else str(key)
        texts[name] = text.lower() if isinstance(value, bool) else text
        if len(text) > MAX_CHARS:
            msg = f"{where}.{key} has {len(text)} characters, and a job takes at most {MAX_CHARS}."
            raise UserError(msg)
    if len(texts) > MAX_PARAMETERS:
        msg = f"{where} has {len(texts)} parameters, and a job takes at most {MAX_PARAMETERS}."
        raise UserError(msg)
    return texts
