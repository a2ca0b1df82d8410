"""Autoscaling of an endpoint: requests to Application Auto Scaling and CloudWatch, as dictionaries.

https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launch.hosting.names import VARIANT
from launch.hosting.settings import DeploySettings

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
SCALE_OUT_S, SCALE_IN_S = 60, 300


@dataclass(frozen=True)
class Scaling:
    """What makes an endpoint scale.

    Args:
        target: RegisterScalableTarget's request.
        policy: PutScalingPolicy's, which follows the load.
        from_zero: PutScalingPolicy's, which starts the first machine; None where one always runs.
        alarm: PutMetricAlarm's, which asks for that; its action is the policy's ARN.
    """

    target: Mapping[str, Any]
    policy: Mapping[str, Any]
    from_zero: Mapping[str, Any] | None = None
    alarm: Mapping[str, Any] | None = None


def resource_of(name: str) -> dict[str, str]:
    """Return how Application Auto Scaling names an endpoint."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def policy_name(name: str) -> str:
    """Return the name of the policy that follows the load."""
    return f"{name}-load"


def alarm_name(name: str) -> str:
    """Return the name of the alarm that wants a first machine, and of its policy."""
    return f"{name}-from-zero"


def scaling_of(settings: DeploySettings) -> Scaling | None:
    """Return what makes an endpoint scale; None if nothing is to."""
    scale = settings.autoscale
    if scale.max is None:
        return None
    resource = resource_of(settings.name)
    target = {**resource, "MinCapacity": scale.min, "MaxCapacity": scale.max}
    tracking = {
        "TargetValue": float(scale.target or 0),
        "ScaleInCooldown": SCALE_IN_S,
        "ScaleOutCooldown": SCALE_OUT_S,
        **_metric(settings),
    }
    policy = {
        **resource,
        "PolicyName": policy_name(settings.name),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }
    if scale.min > 0:
        return Scaling(target, policy)
    return Scaling(target, policy, _first_machine(settings.name), _backlog_alarm(settings.name))


def _metric(settings: DeploySettings) -> dict[str, Any]:
    if settings.kind != "async":
        return {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
    return {
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": settings.name}],
            "Statistic": "Average",
        }
    }


def _first_machine(name: str) -> dict[str, Any]:
    """Return the policy that goes from no machine to one: of none there is no backlog for each, which load goes by."""
    return {
        **resource_of(name),
        "PolicyName": alarm_name(name),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": SCALE_IN_S,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }


def _backlog_alarm(name: str) -> dict[str, Any]:
    return {
        "AlarmName": alarm_name(name),
        "MetricName": "HasBacklogWithoutCapacity",
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": name}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
    }
