"""What AWS refuses, in one sentence with its remedy."""

import pytest
from botocore import exceptions as known

from dogbreed.errors import UserError
from launch.aws.errors import translated

QUOTA = (
    "The account-level service limit 'ml.p4d.24xlarge for training job usage' is 0 Instances, with current utilization "
    "of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an increase."
)
DENIED = (
    "User: arn:aws:iam::123456789012:user/me is not authorized to perform: sagemaker:CreateTrainingJob on resource: "
    "arn:aws:sagemaker:eu-central-1:123456789012:training-job/x because no identity-based policy allows it"
)


def answer(code, message="", operation="CreateTrainingJob", status=400, retries=0):
    metadata = {"HTTPStatusCode": status, "RetryAttempts": retries}
    return known.ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (known.NoCredentialsError(), "there are no AWS credentials: log in by"),
        (known.NoRegionError(), "no AWS region is set"),
        (
            known.TokenRetrievalError(provider="sso", error_msg="expired"),
            "expired or cannot be fetched .*aws sso login",
        ),
        (known.EndpointConnectionError(endpoint_url="https://x"), "AWS cannot be reached .*check the network"),
        (known.ConnectTimeoutError(endpoint_url="https://x"), "AWS cannot be reached"),
        (known.SSLError(endpoint_url="https://x", error="self-signed"), "AWS_CA_BUNDLE"),
        (known.ProxyConnectionError(proxy_url="http://p"), "HTTPS_PROXY"),
        (answer("ExpiredTokenException"), "have expired"),
        (answer("UnrecognizedClientException"), "does not accept the credentials"),
        (answer("RequestTimeTooSkewed"), "clock is wrong"),
        (
            answer("AccessDeniedException", DENIED),
            "sagemaker:CreateTrainingJob on arn:aws:sagemaker:.*training-job/x is not",
        ),
        (answer("AccessDeniedException", DENIED + " with an explicit deny"), "a policy denies it explicitly"),
        (answer("403", "Forbidden", "HeadBucket"), "s3:ListBucket is not permitted"),
        (answer("AccessDenied", "Access Denied", "PutObject"), "s3:PutObject is not permitted"),
        (answer("ThrottlingException", "Rate exceeded", retries=9), "refused it 10 times .* wait a minute"),
        (
            answer("ResourceLimitExceeded", QUOTA),
            "quota 'ml.p4d.24xlarge for training job usage' is 0 .*Service Quotas",
        ),
        (answer("ResourceInUse", "Training job names must be unique"), "name is taken .*launch.name=NAME"),
        (
            answer("ValidationException", "Could not assume role arn:x."),
            "trust policy must name sagemaker.amazonaws.com",
        ),
        (answer("ValidationException", "Unable to pull image 1.dkr.ecr/x:y"), "image cannot be had .*launch.image"),
        (answer("ValidationException", "No S3 objects found under S3 URL s3://x"), "nothing at an S3 address"),
        (answer("ValidationException", "VolumeSizeInGB is wrong"), "AWS refuses the request .VolumeSizeInGB is wrong."),
        (answer("NoSuchBucket", "", "PutObject"), "the bucket does not exist"),
        (answer("InternalFailure", "sorry", status=500, retries=4), "answered 5 times with 500 InternalFailure"),
        (answer("400", "Bad Request", "HeadObject"), "credentials may have expired"),
        (answer("Surprise", "what"), "AWS answered Surprise .what."),
    ],
)
def test_every_refusal_is_one_sentence(error, expected):
    with pytest.raises(UserError, match=expected) as raised, translated("starting the job x"):
        raise error
    sentence = str(raised.value)
    assert sentence.startswith("Starting the job x failed: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ".." not in sentence


def test_our_bugs_and_our_own_sentences_go_through():
    with pytest.raises(known.ParamValidationError), translated("x"):
        raise known.ParamValidationError(report="Missing required parameter")
    with pytest.raises(KeyError), translated("x"):
        raise KeyError("x")
    with pytest.raises(UserError, match="^mine$"), translated("x"):
        raise UserError("mine")
    with pytest.raises(ImportError), translated("x"):
        raise ImportError(name="torch")


def test_a_missing_sdk_is_named():
    with pytest.raises(UserError, match=r"pip install 'dogbreed\[sagemaker\]'"), translated("x"):
        raise ModuleNotFoundError(name="botocore.config")
