"""What CreateTrainingJob takes: lengths, counts, patterns.

Botocore checks a part of it before sending, by what its service model says; patterns it does not check at all, nor does
a dry run have it. The table is the model's, and a test holds it against it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dogbreed.errors import UserError

_S3 = r"(https|s3)://([^/]+)/?(.*)"
_KMS = r"[a-zA-Z0-9:/_-]*"
_ANY = r".*"


@dataclass(frozen=True)
class Limit:
    """What one place of a request takes.

    Args:
        path: Names with dots; ``[]`` each item of a list, ``{}`` each value of a mapping, ``{key}`` each of its keys.
        least: Lowest number, length or count.
        most: Highest; None for none.
        pattern: What a text must match, as the model has it; None for none.
        remedy: What to change.
    """

    path: str
    least: int = 0
    most: int | None = None
    pattern: str | None = None
    remedy: str = ""


LIMITS = (
    Limit("TrainingJobName", 1, 63, r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "give launch.name=NAME"),
    Limit("RoleArn", 20, 2048, r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+", "give launch.role=ARN"),
    Limit("AlgorithmSpecification.TrainingImage", 0, 255, _ANY, "give launch.image=ADDRESS"),
    Limit("AlgorithmSpecification.MetricDefinitions", 0, 40),
    Limit("AlgorithmSpecification.MetricDefinitions.[].Name", 1, 255, r".+"),
    Limit("AlgorithmSpecification.MetricDefinitions.[].Regex", 1, 500, r".+"),
    Limit("HyperParameters", 0, 100, remedy="put overrides into conf/experiment/NAME.yaml"),
    Limit("HyperParameters.{key}", 0, 256, _ANY, "put it into conf/experiment/NAME.yaml"),
    Limit("HyperParameters.{}", 0, 2500, _ANY, "put it into conf/experiment/NAME.yaml"),
    Limit("InputDataConfig", 1, 20),
    Limit("InputDataConfig.[].ChannelName", 1, 64, r"[A-Za-z0-9\.\-_]+"),
    Limit("InputDataConfig.[].DataSource.S3DataSource.S3Uri", 0, 1024, _S3, "choose a shorter place"),
    Limit("OutputDataConfig.S3OutputPath", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("OutputDataConfig.KmsKeyId", 0, 2048, _KMS, "mend launch.kms_key"),
    Limit("ResourceConfig.InstanceCount", 0),
    Limit("ResourceConfig.VolumeSizeInGB", 0),
    Limit("ResourceConfig.VolumeKmsKeyId", 0, 2048, _KMS, "mend launch.volume_kms_key"),
    Limit("ResourceConfig.KeepAlivePeriodInSeconds", 0, 21_600, remedy="lower launch.keep_alive_s"),
    Limit("VpcConfig.SecurityGroupIds", 1, 5),
    Limit("VpcConfig.SecurityGroupIds.[]", 0, 32, r"[-0-9a-zA-Z]+", "mend launch.security_groups"),
    Limit("VpcConfig.Subnets", 1, 16),
    Limit("VpcConfig.Subnets.[]", 0, 32, r"[-0-9a-zA-Z]+", "mend launch.subnets"),
    Limit("StoppingCondition.MaxRuntimeInSeconds", 1),
    Limit("StoppingCondition.MaxWaitTimeInSeconds", 1),
    Limit("RetryStrategy.MaximumRetryAttempts", 1, 30),
    Limit("Tags", 0, 50),
    Limit("Tags.[].Key", 1, 128, r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "mend launch.tags"),
    Limit("Tags.[].Value", 0, 256, r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "mend launch.tags"),
    Limit("Environment", 0, 100),
    Limit("Environment.{key}", 0, 512, r"[a-zA-Z_][a-zA-Z0-9_]*", "mend launch.environment"),
    Limit("Environment.{}", 0, 512, r"[\S\s]*", "shorten it in launch.environment"),
    Limit("CheckpointConfig.S3Uri", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("CheckpointConfig.LocalPath", 0, 4096, _ANY),
    Limit("TensorBoardOutputConfig.S3OutputPath", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("TensorBoardOutputConfig.LocalPath", 0, 4096, _ANY),
    Limit("DebugHookConfig.S3OutputPath", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("DebugHookConfig.HookParameters", 0, 20),
    Limit("DebugHookConfig.HookParameters.{}", 0, 256, _ANY, "shorten it in diagnose.hook"),
    Limit("DebugHookConfig.CollectionConfigurations", 0, 20, remedy="leave some of diagnose.hook.collections out"),
    Limit("DebugHookConfig.CollectionConfigurations.[].CollectionName", 1, 256, _ANY),
    Limit("DebugHookConfig.CollectionConfigurations.[].CollectionParameters", 0, 20),
    Limit("DebugHookConfig.CollectionConfigurations.[].CollectionParameters.{}", 0, 256, _ANY),
    Limit("DebugRuleConfigurations", 0, 20, remedy="leave some of launch.debugger.rules out"),
    Limit("DebugRuleConfigurations.[].RuleEvaluatorImage", 0, 255, _ANY),
    Limit("DebugRuleConfigurations.[].RuleParameters", 0, 100),
    Limit("DebugRuleConfigurations.[].RuleParameters.{}", 0, 256, _ANY, "shorten it in launch.debugger.rules"),
    Limit("ProfilerConfig.S3OutputPath", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("ProfilerRuleConfigurations", 0, 20, remedy="leave some of launch.debugger.profiler_rules out"),
    Limit("ProfilerRuleConfigurations.[].RuleEvaluatorImage", 0, 255, _ANY),
    Limit("ProfilerRuleConfigurations.[].RuleParameters.{}", 0, 256, _ANY),
)


def check(request: Mapping[str, Any], limits: Sequence[Limit] = LIMITS, what: str = "job") -> None:
    """Refuse a request that the API would refuse for its form.

    Args:
        request: By the API's names.
        limits: Of its action; CreateTrainingJob's.
        what: Is asked for, in sentences.

    Raises:
        UserError: names the place in the request, what is wrong with it and what to change.
    """
    for limit in limits:
        for place, value in _find(request, limit.path.split("."), ""):
            problem = _problem(value, limit)
            if problem:
                msg = f"The {what}'s {place} {problem}"
                raise UserError(f"{msg}: {limit.remedy}." if limit.remedy else f"{msg}.")


def _find(node: Any, path: list[str], place: str) -> Iterator[tuple[str, Any]]:
    if not path:
        yield place, node
        return
    step, rest = path[0], path[1:]
    if step == "[]":
        for number, item in enumerate(node):
            yield from _find(item, rest, f"{place}[{number}]")
    elif step == "{key}":
        for key in node:
            yield from _find(key, rest, f"{place}, name {key[:40]},")
    elif step == "{}":
        for key, value in node.items():
            yield from _find(value, rest, f"{place}.{key}")
    elif step in node:
        yield from _find(node[step], rest, f"{place}.{step}" if place else step)


def _problem(value: Any, limit: Limit) -> str:
    """Say what is wrong with a value; empty if nothing is."""
    size = value if isinstance(value, int) else len(value)
    unit = "" if isinstance(value, int) else " characters" if isinstance(value, str) else " items"
    if limit.most is not None and size > limit.most:
        return f"has {size}{unit}, at most {limit.most} are allowed" if unit else f"is {size}, at most {limit.most}"
    if size < limit.least:
        return f"has {size}{unit}, at least {limit.least} are needed" if unit else f"is {size}, at least {limit.least}"
    if isinstance(value, str) and limit.pattern and not _matches(value, limit.pattern):
        return f"is {value[:80]!r}, which is not of the form {limit.pattern}"
    return ""


def _matches(value: str, pattern: str) -> bool:
    if r"\p{L}" in pattern:  # letters, numbers and separators of every script, which re has no words for
        return all(unicodedata.category(char)[0] in "LZN" or char in "_.:/=+-@" for char in value)
    if pattern == r"[\S\s]*":
        return True
    # Java's `.` ends at every line break that Unicode knows.
    return re.fullmatch(pattern, value, flags=re.ASCII) is not None and len(value.splitlines()) <= 1
