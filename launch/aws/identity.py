"""The role that a job takes on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dogbreed.errors import UserError
from launch.aws.errors import GoneError, error_code, translated

if TYPE_CHECKING:
    from launch.aws.session import Aws
    from launch.settings import LaunchSettings

SERVICE = "sagemaker.amazonaws.com"
# What SageMaker puts into its notebooks and Studio; there, the role that we run under is a job's, too.
STUDIO_FILE = Path("/opt/ml/metadata/resource-metadata.json")

_ARN = re.compile(r"arn:[\w-]+:iam::(\d{12}):role/([\w+=,.@/-]+)")
_NAME = re.compile(r"[\w+=,.@/-]{1,576}")


def find_role(aws: Aws, settings: LaunchSettings) -> str:
    """Return the ARN of the role that a job takes on.

    ``launch.role``, else ``SAGEMAKER_ROLE``, else, inside SageMaker Studio or under another role that SageMaker may
    take on, the one that we run under. Where IAM may be asked, the role is looked up.

    Args:
        aws: The account.
        settings: ``launch.role``: an ARN or a name.

    Raises:
        UserError: there is none, it does not exist, is another account's, or SageMaker may not take it on.
    """
    given = settings.role or os.environ.get("SAGEMAKER_ROLE")
    if given:
        return _given_role(aws, given, "launch.role" if settings.role else "SAGEMAKER_ROLE")
    return _own_role(aws)


def _given_role(aws: Aws, given: str, key: str) -> str:
    arn = _ARN.fullmatch(given)
    if not arn and (given.startswith("arn:") or not _NAME.fullmatch(given)):
        msg = f"{key}={given} is no role: give its name, or its ARN, arn:aws:iam::ACCOUNT:role/NAME."
        raise UserError(msg)
    if arn and arn[1] != aws.account:
        msg = f"{key}={given} belongs to account {arn[1]}, but the credentials to {aws.account}: give one of its roles."
        raise UserError(msg)
    path = arn[2] if arn else given
    try:
        role = _look_up(aws, path.rpartition("/")[2])
    except GoneError as error:
        msg = f"{key}={given} does not exist in account {aws.account}: make it in IAM, for the service SageMaker."
        raise UserError(msg) from error
    if role is None:  # IAM may not be asked
        return given if arn else _compose(aws, path)
    if not _serves(role):
        msg = f"{key}={given} cannot be taken on by SageMaker: add {SERVICE} to its trust policy, or give another role."
        raise UserError(msg)
    return str(role["Arn"])


def _own_role(aws: Aws) -> str:
    """Return the role that we run under, if a job may take it on."""
    session = re.fullmatch(r"arn:[\w-]+:sts::\d{12}:assumed-role/([^/]+)/.*", aws.identity["Arn"])
    missing = (
        "No role is set that the job could take on: launch.role=ARN or SAGEMAKER_ROLE "
        "(IAM, Roles, Create role, AWS service, SageMaker)."
    )
    if not session:
        raise UserError(missing)
    try:
        role = _look_up(aws, session[1])
    except GoneError as error:
        raise UserError(missing) from error
    if role is not None and _serves(role):
        return str(role["Arn"])
    if role is None and STUDIO_FILE.exists():
        return _compose(aws, session[1])
    raise UserError(missing)


def _look_up(aws: Aws, name: str) -> dict[str, Any] | None:
    """Return what IAM says of a role; None where it may not be asked."""
    from botocore.exceptions import ClientError

    with translated(f"looking for the role {name}"):
        try:
            role: dict[str, Any] = aws.client("iam").get_role(RoleName=name)["Role"]
        except ClientError as error:
            if error_code(error) in ("AccessDenied", "AccessDeniedException"):
                return None
            raise
    return role


def _serves(role: dict[str, Any]) -> bool:
    """Say whether a role's trust policy names SageMaker; one that cannot be read does, for AWS will say so itself."""
    policy = role.get("AssumeRolePolicyDocument")
    text = unquote(policy) if isinstance(policy, str) else json.dumps(policy)
    return SERVICE in text or '"*"' in text or not policy


def _compose(aws: Aws, path: str) -> str:
    """Return the ARN of a role by its name; those that the console makes for SageMaker have a path of their own."""
    if "/" not in path and path.startswith("AmazonSageMaker-ExecutionRole"):
        path = f"service-role/{path}"
    return f"arn:{aws.partition}:iam::{aws.account}:role/{path}"
