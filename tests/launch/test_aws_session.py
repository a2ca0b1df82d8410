"""Account, region, role and bucket: what is found, and the sentences about what is not."""

import json
import subprocess
import sys

import pytest
from faulty_proxy import Fault

from dogbreed.errors import UserError
from launch.aws import identity
from launch.aws.bucket import default_bucket, find_bucket
from launch.aws.identity import find_role
from launch.aws.session import connect
from launch.settings import LaunchSettings

ACCOUNT = "123456789012"
OWN = f"sagemaker-eu-central-1-{ACCOUNT}"


def trust(service: str) -> str:
    return json.dumps(
        {"Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}
    )


@pytest.fixture
def roles(aws):
    """A role for jobs, one in a path, one for something else."""
    iam = aws.client("iam")
    iam.create_role(RoleName="jobs", AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"))
    iam.create_role(RoleName="deep", Path="/service-role/", AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"))
    iam.create_role(RoleName="lambda", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))


def test_account_and_region(aws, monkeypatch):
    assert (aws.account, aws.region, aws.partition) == (ACCOUNT, "eu-central-1", "aws")
    assert aws.client("s3") is aws.client("s3")
    assert aws.client("pricing", region="us-east-1").meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert connect(LaunchSettings()).region == "us-west-2"
    assert connect(LaunchSettings(region="eu-west-1")).client("sagemaker").meta.region_name == "eu-west-1"


def test_no_or_a_wrong_region(no_aws):
    with pytest.raises(UserError, match="No AWS region is set: launch.region=eu-central-1"):
        connect(LaunchSettings())
    with pytest.raises(UserError, match="launch.region=eu-cental-1 is no region .* Did you mean eu-central-1"):
        connect(LaunchSettings(region="eu-cental-1"))
    with pytest.raises(UserError, match="launch.region=Frankfurt must be a region such as eu-central-1"):
        connect(LaunchSettings(region="Frankfurt"))


def test_no_credentials(no_aws):
    with pytest.raises(UserError, match="there are no AWS credentials: log in by aws sso login, aws configure"):
        connect(LaunchSettings(region="eu-central-1")).account  # noqa: B018


def test_a_profile_that_does_not_exist(no_aws, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match=r"profile \(nobody\) could not be found: set AWS_PROFILE"):
        connect(LaunchSettings())


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "ExpiredToken", "have expired: log in anew"),
        (403, "InvalidClientTokenId", "does not accept the credentials .InvalidClientTokenId.: log in anew"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials"),
    ],
)
def test_credentials_that_aws_refuses(proxy, status, code, expected):
    proxy.rule = lambda request: Fault(status, code, is_query=True)
    with pytest.raises(UserError, match=f"Asking AWS who we are failed: .*{expected}"):
        connect(LaunchSettings()).account  # noqa: B018


def test_without_the_sdk(tmp_path):
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from launch.aws.session import connect\nfrom launch.settings import LaunchSettings\n"
        "from dogbreed.errors import UserError\n"
        "try: connect(LaunchSettings(region='eu-central-1'))\nexcept UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "Launching on SageMaker needs the AWS SDK: pip install 'dogbreed[sagemaker]'.\n", done.stderr


@pytest.mark.parametrize("given", ["jobs", f"arn:aws:iam::{ACCOUNT}:role/jobs"])
def test_a_role_by_name_or_arn(aws, roles, given, monkeypatch):
    assert find_role(aws, LaunchSettings(role=given)) == f"arn:aws:iam::{ACCOUNT}:role/jobs"
    monkeypatch.setenv("SAGEMAKER_ROLE", "deep")
    assert find_role(aws, LaunchSettings()) == f"arn:aws:iam::{ACCOUNT}:role/service-role/deep"
    assert find_role(aws, LaunchSettings(role=given)) == f"arn:aws:iam::{ACCOUNT}:role/jobs"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("nobody", f"launch.role=nobody does not exist in account {ACCOUNT}"),
        ("lambda", "launch.role=lambda cannot be taken on by SageMaker: add sagemaker.amazonaws.com"),
        ("arn:aws:iam::999999999999:role/jobs", "belongs to account 999999999999"),
        ("arn:aws:s3:::jobs", "must be a role's name or its ARN"),
    ],
)
def test_a_wrong_role(aws, roles, given, expected):
    with pytest.raises(UserError, match=expected):
        find_role(aws, LaunchSettings(role=given))


def test_no_role(aws, roles):
    with pytest.raises(UserError, match="No role is set that the job could take on: launch.role=ARN or SAGEMAKER_ROLE"):
        find_role(aws, LaunchSettings())


def test_the_role_that_we_run_under(aws, roles):
    run_as(aws, "jobs")
    assert find_role(aws, LaunchSettings()) == f"arn:aws:iam::{ACCOUNT}:role/jobs"
    run_as(aws, "lambda")
    with pytest.raises(UserError, match="No role is set"):
        find_role(aws, LaunchSettings())


def test_where_iam_may_not_be_asked(aws, proxy, tmp_path, monkeypatch):
    denied = Fault(403, "AccessDenied", is_query=True)
    proxy.rule = lambda request: denied if "/iam/" in request.headers.get("Authorization", "") else None
    there = connect(LaunchSettings())
    assert find_role(there, LaunchSettings(role="jobs")) == f"arn:aws:iam::{ACCOUNT}:role/jobs"
    run_as(there, "AmazonSageMaker-ExecutionRole-2026")
    with pytest.raises(UserError, match="No role is set"):
        find_role(there, LaunchSettings())
    (tmp_path / "metadata").touch()
    monkeypatch.setattr(identity, "STUDIO_FILE", tmp_path / "metadata")
    expected = f"arn:aws:iam::{ACCOUNT}:role/service-role/AmazonSageMaker-ExecutionRole-2026"
    assert find_role(there, LaunchSettings()) == expected


def run_as(aws, role: str) -> None:
    aws.__dict__["identity"] = {**aws.identity, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/me"}


def test_sagemakers_own_bucket_is_made_once_and_closed(aws):
    assert find_bucket(aws, LaunchSettings()) == OWN == default_bucket(aws.region, ACCOUNT)

    s3 = aws.client("s3")
    assert s3.get_bucket_location(Bucket=OWN)["LocationConstraint"] == "eu-central-1"
    assert set(s3.get_public_access_block(Bucket=OWN)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_tagging(Bucket=OWN)["TagSet"] == [{"Key": "dogbreed", "Value": "launch"}]
    assert find_bucket(aws, LaunchSettings()) == OWN
    assert len(s3.list_buckets()["Buckets"]) == 1


def test_a_bucket_in_the_first_region_has_no_location(aws_server):
    there = connect(LaunchSettings(region="us-east-1"))
    assert find_bucket(there, LaunchSettings()) == f"sagemaker-us-east-1-{ACCOUNT}"


def test_wrong_buckets(aws):
    aws.client("s3", region="us-west-2").create_bucket(
        Bucket="far", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    with pytest.raises(UserError, match="launch.bucket=nothing does not exist"):
        find_bucket(aws, LaunchSettings(bucket="nothing"))
    with pytest.raises(UserError, match="lies in us-west-2, but the job would run in eu-central-1: set launch.region="):
        find_bucket(aws, LaunchSettings(bucket="far"))
    with pytest.raises(UserError, match="must be a bucket's name, without s3://"):
        find_bucket(aws, LaunchSettings(bucket="s3://far/deep"))


@pytest.mark.parametrize("bucket", [None, "theirs"])
def test_a_bucket_of_someone_elses(proxy, bucket):
    proxy.rule = lambda request: Fault(403, "AccessDenied") if request.method == "HEAD" else None
    with pytest.raises(UserError, match="belongs to another account, or s3:ListBucket on it is not permitted"):
        find_bucket(connect(LaunchSettings()), LaunchSettings(bucket=bucket))
    assert proxy.requests[-1].headers["x-amz-expected-bucket-owner"] == ACCOUNT


def test_sagemakers_name_is_taken_by_somebody_else(proxy):
    taken = Fault(409, "BucketAlreadyExists")
    proxy.rule = lambda request: taken if request.method == "PUT" else None
    with pytest.raises(UserError, match="belongs to another account: name one of yours"):
        find_bucket(connect(LaunchSettings()), LaunchSettings())
