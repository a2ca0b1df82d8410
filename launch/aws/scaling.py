"""Autoscaling of endpoints: Application Auto Scaling, and the alarm that asks for a first machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from launch.aws.errors import translated
from launch.aws.session import Aws
from launch.hosting.scaling import Scaling, alarm_name, resource_of

_AUTOSCALING = "application-autoscaling"


def apply_scaling(aws: Aws, scaling: Scaling) -> None:
    """Let an endpoint scale; what it had before is replaced.

    Raises:
        UserError: AWS refuses.
    """
    client = aws.client(_AUTOSCALING)
    with translated("setting up autoscaling"):
        client.register_scalable_target(**scaling.target)
        client.put_scaling_policy(**scaling.policy)
        if scaling.from_zero and scaling.alarm:
            arn = client.put_scaling_policy(**scaling.from_zero)["PolicyARN"]
            aws.client("cloudwatch").put_metric_alarm(**scaling.alarm, AlarmActions=[arn])


def find_scaling(aws: Aws, name: str) -> dict[str, Any] | None:
    """Return how an endpoint scales, as the API describes its target; None if it does not.

    Raises:
        UserError: AWS refuses.
    """
    resource = resource_of(name)
    with translated(f"asking how the endpoint {name} scales"):
        answer = aws.client(_AUTOSCALING).describe_scalable_targets(
            ServiceNamespace=resource["ServiceNamespace"],
            ResourceIds=[resource["ResourceId"]],
            ScalableDimension=resource["ScalableDimension"],
        )
    return next(iter(answer["ScalableTargets"]), None)


def find_policies(aws: Aws, name: str) -> list[Mapping[str, Any]]:
    """Return an endpoint's scaling policies, as requests that would make them again.

    Raises:
        UserError: AWS refuses.
    """
    resource = resource_of(name)
    kept = (
        *("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyType"),
        *("TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration"),
    )
    with translated(f"asking how the endpoint {name} scales"):
        answer = aws.client(_AUTOSCALING).describe_scaling_policies(
            ServiceNamespace=resource["ServiceNamespace"], ResourceId=resource["ResourceId"]
        )
    return [{key: policy[key] for key in kept if policy.get(key)} for policy in answer["ScalingPolicies"]]


def restore_scaling(aws: Aws, name: str, target: Mapping[str, Any], policies: list[Mapping[str, Any]]) -> None:
    """Let an endpoint scale as it did before.

    Args:
        aws: The account.
        name: Of the endpoint.
        target: As `find_scaling` has found it.
        policies: As `find_policies` has.

    Raises:
        UserError: AWS refuses.
    """
    client = aws.client(_AUTOSCALING)
    with translated(f"setting up autoscaling of {name} again"):
        counts = {key: target[key] for key in ("MinCapacity", "MaxCapacity")}
        client.register_scalable_target(**resource_of(name), **counts)
        for policy in policies:
            client.put_scaling_policy(**policy)


def remove_scaling(aws: Aws, name: str) -> bool:
    """Let an endpoint scale no more; False if it did not. Its policies go with the target.

    Raises:
        UserError: AWS refuses.
    """
    if find_scaling(aws, name) is None:
        return False
    client = aws.client(_AUTOSCALING)
    with translated(f"removing the autoscaling of {name}"):
        with suppress(client.exceptions.ObjectNotFoundException):
            client.deregister_scalable_target(**resource_of(name))
        # There is one only where machines go down to none; deleting what is not there is no error.
        aws.client("cloudwatch").delete_alarms(AlarmNames=[alarm_name(name)])
    return True
