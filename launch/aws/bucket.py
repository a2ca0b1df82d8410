"""The bucket that everything of ours lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError
from launch.aws.errors import error_code, translated

if TYPE_CHECKING:
    from launch.aws.session import Aws
    from launch.settings import LaunchSettings


def find_bucket(aws: Aws, settings: LaunchSettings) -> str:
    """Return the name of the bucket of a launch; SageMaker's own is made if it is not there.

    Args:
        aws: The account.
        settings: ``launch.bucket``; None for ``sagemaker-REGION-ACCOUNT``, which is not reachable from outside.

    Raises:
        UserError: the bucket that is named does not exist, lies elsewhere or belongs to somebody else.
    """
    name = settings.bucket or default_bucket(aws.region, aws.account)
    if name.startswith("s3://") or "/" in name:
        msg = f"launch.bucket={name} is an address: give the bucket's name alone, and the rest in launch.prefix."
        raise UserError(msg)
    where = _look(aws, name)
    if where is None:
        if settings.bucket:
            msg = f"launch.bucket={name} does not exist: make it, or leave it out for SageMaker's own bucket."
            raise UserError(msg)
        _make(aws, name)
    elif where and where != aws.region:
        msg = (
            f"The bucket {name} lies in {where}, but the job would run in {aws.region}: set launch.region={where}, or "
            "name another one, launch.bucket=NAME."
        )
        raise UserError(msg)
    return name


def default_bucket(region: str, account: str) -> str:
    """Return the name that SageMaker's own tools give their bucket."""
    return f"sagemaker-{region}-{account}"


def _look(aws: Aws, name: str) -> str | None:
    """Return the region of a bucket of ours (empty if AWS does not say); None if there is no such bucket."""
    from botocore.exceptions import ClientError

    with translated(f"looking for the bucket {name}"):
        try:
            answer = aws.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=aws.account)
        except ClientError as error:
            code = error_code(error)
            if code in ("404", "NoSuchBucket"):
                return None
            if code in ("403", "AccessDenied"):
                msg = (
                    f"The bucket {name} belongs to another account, or s3:ListBucket on it is not permitted for "
                    f"{aws.identity['Arn']}: name a bucket of yours, launch.bucket=NAME."
                )
                raise UserError(msg) from error
            if code in ("301", "PermanentRedirect"):
                return _region_of(error.response) or "another region"
            raise
    return _region_of(answer)


def _region_of(answer: dict[str, Any]) -> str:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or "")


def _make(aws: Aws, name: str) -> None:
    """Make SageMaker's bucket: closed to the outside from the beginning, tagged as ours."""
    from botocore.exceptions import ClientError

    s3 = aws.client("s3")
    place = {} if aws.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
    with translated(f"making the bucket {name}"):
        try:
            s3.create_bucket(Bucket=name, **place)
        except ClientError as error:
            code = error_code(error)
            if code == "BucketAlreadyExists":
                msg = f"The bucket {name} belongs to another account: name one of yours, launch.bucket=NAME."
                raise UserError(msg) from error
            if code not in ("BucketAlreadyOwnedByYou", "OperationAborted"):  # another launch is making it
                raise
        s3.get_waiter("bucket_exists").wait(Bucket=name, ExpectedBucketOwner=aws.account)
        closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "dogbreed", "Value": "launch"}]})
