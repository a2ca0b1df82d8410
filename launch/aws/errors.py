"""What AWS says when it refuses, in one sentence with a remedy. The only place that does so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

INSTALL = "Launching on SageMaker needs the AWS SDK: pip install 'dogbreed[sagemaker]'."

_LOG_IN = "aws sso login, aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_INVALID = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "AuthFailure",
        "InvalidToken",
        "IncompleteSignature",
        "MissingAuthenticationToken",
    }
)
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AllAccessDisabled", "403"}
)
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "ProvisionedThroughputExceededException",
        "PriorRequestNotComplete",
    }
)
_ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateBucket": "s3:CreateBucket",
    "GetProducts": "pricing:GetProducts",
    "GetCallerIdentity": "sts:GetCallerIdentity",
}
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})


class GoneError(UserError):
    """What was asked for is not there."""


class RefusedError(UserError):
    """An endpoint has refused what it was sent, in its own sentence."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what AWS and the way to it refuse into one sentence.

    Args:
        doing: What was tried, as the beginning of a sentence: ``uploading photos``, ``starting the job NAME``.

    Raises:
        UserError: in place of every error of AWS that the user can mend; what is our bug (a request that the API does
            not know) goes through.
    """
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("boto3", "botocore", "s3transfer", "sagemaker"):
            raise UserError(INSTALL) from error
        raise
    except Exception as error:
        sentence = _explain(error)
        if sentence is None:
            raise
        if error_code(error) == "ModelError":
            raise RefusedError(sentence) from error
        kind = GoneError if error_code(error) in ("404", "NoSuchKey", "NotFound", "NoSuchEntity") else UserError
        msg = f"{doing[:1].upper()}{doing[1:]} failed: {sentence}"
        raise kind(msg) from error


def error_code(error: BaseException) -> str:
    """Return the code of an error of AWS, ``404`` or ``ThrottlingException``; empty for other errors."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _explain(error: Exception) -> str | None:
    from botocore import exceptions as known

    if isinstance(error, known.ClientError):
        return _explain_answer(error)
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        return f"there are no AWS credentials: log in by {_LOG_IN}."
    if isinstance(error, known.ProfileNotFound):
        return f"{_plain(error)}: set AWS_PROFILE to one that aws configure list-profiles names."
    if isinstance(
        error,
        (
            known.TokenRetrievalError,
            known.UnauthorizedSSOTokenError,
            known.SSOTokenLoadError,
            known.CredentialRetrievalError,
        ),
    ):
        return f"the AWS credentials have expired or cannot be fetched ({_plain(error)}): log in anew, {_LOG_IN}."
    if isinstance(error, known.NoRegionError):
        return "no AWS region is set: launch.region=eu-central-1, AWS_REGION, or aws configure."
    if isinstance(error, (known.ConfigParseError, known.InvalidConfigError)):
        return f"the AWS configuration cannot be read ({_plain(error)}): mend ~/.aws/config."
    return _explain_way(error)


def _explain_way(error: Exception) -> str | None:
    """Explain what happens between here and AWS."""
    from boto3 import exceptions as transfer
    from botocore import exceptions as known

    if isinstance(error, (transfer.S3UploadFailedError, transfer.RetriesExceededError)):
        return f"the connection broke off again and again ({_plain(error)}): call again, what has arrived stays."
    if isinstance(error, known.ProxyConnectionError):
        return f"the proxy cannot be reached ({_plain(error)}): see HTTPS_PROXY."
    if isinstance(error, known.SSLError):
        return f"the connection cannot be trusted ({_plain(error)}): give your network's certificates by AWS_CA_BUNDLE."
    if isinstance(error, (known.HTTPClientError, known.ConnectionError)):
        return f"AWS cannot be reached ({_plain(error)}): check the network, the region and AWS_ENDPOINT_URL."
    if isinstance(error, (known.FlexibleChecksumError, known.IncompleteReadError)):
        return f"what arrived is not what was sent ({_plain(error)}): call again."
    return None


def _explain_answer(error: ClientError) -> str | None:
    code = error_code(error)
    said = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".")
    if code == "ModelError":
        return _explain_model(error)
    if code in _EXPIRED:
        return f"the AWS credentials have expired: log in anew by {_LOG_IN}, and call again; what is done stays done."
    if code in _INVALID:
        return f"AWS does not accept the credentials ({code}): log in anew by {_LOG_IN}."
    if code in _DENIED:
        return _explain_denied(error, said)
    if code in _THROTTLED:
        return f"AWS has refused it {_attempts(error)} as too many requests ({code}): wait a minute and call again."
    if code in _CLOCK:
        return "this machine's clock is wrong: set it."
    if code in ("ResourceLimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"):
        return _explain_quota(said)
    if code in ("ResourceInUse", "ResourceInUseException", "ConflictException"):
        return f"the name is taken ({said}): choose another one, launch.name=NAME, or call again."
    if code == "NoSuchBucket":
        bucket = error.response.get("Error", {}).get("BucketName")
        return f"the bucket {bucket or ''} does not exist: make it, or name another, launch.bucket=NAME.".replace(
            "  ", " "
        )
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
        return (
            f"the bucket lies in another region ({said}): set launch.region to it, or name another, launch.bucket=NAME."
        )
    if code in ("404", "NoSuchKey", "NotFound", "NoSuchEntity", "ResourceNotFound", "ResourceNotFoundException"):
        return f"it is not there ({said or code})."
    return _explain_refused(error, code, said)


def _explain_model(error: ClientError) -> str:
    """Return what a container itself has said: a JSON object with its sentence, if it is ours."""
    said = str(error.response.get("OriginalMessage", "")).strip()
    status = error.response.get("OriginalStatusCode", "")
    try:
        return str(json.loads(said)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the container answered {status} ({said[:300]}): its log tells more."


def _explain_refused(error: ClientError, code: str, said: str) -> str | None:
    """Explain what the service found wrong with the request itself."""
    lower = said.lower()
    if "could not assume role" in lower or "assume the role" in lower:
        return (
            f"SageMaker cannot take on the role ({said}): its trust policy must name sagemaker.amazonaws.com; "
            "or give another, launch.role=ARN."
        )
    if "image" in lower and any(
        word in lower for word in ("does not exist", "not found", "unable to pull", "unsupported")
    ):
        return (
            f"the container's image cannot be had ({said}): see launch.image, launch.image_version and launch.region."
        )
    if "no s3 objects found" in lower:
        return f"there is nothing at an S3 address ({said}): check data.root and model.weights."
    if code in ("ValidationException", "ValidationError", "InvalidParameterValue", "InvalidRequest", "InvalidArgument"):
        return f"AWS refuses the request ({said}): change what it names."
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "400":  # S3's answers to HEAD have no text, nor that to expired credentials
        return f"AWS does not take the request (400): the credentials may have expired, log in anew by {_LOG_IN}."
    if status >= 500:
        return f"AWS answered {_attempts(error)} with {status} {code} ({said}): call again later."
    return f"AWS answered {code} ({said})."


def _explain_denied(error: ClientError, said: str) -> str:
    action = re.search(r"perform:? ([\w-]+:\w+)", said)
    who = re.search(r"(?:User|Principal): (\S+)", said)
    name = action[1] if action else _action(error)
    on = re.search(r"on resource:? (\S+)", said)
    resource = f" on {on[1]}" if on else ""
    explicit = " (a policy denies it explicitly)" if "explicit deny" in said.lower() else ""
    asker = f" for {who[1]}" if who else ""
    return f"{name}{resource} is not permitted{explicit}: ask the account's administrator to allow it{asker}."


def _explain_quota(said: str) -> str:
    """Say which quota to have raised; SageMaker names it in its message."""
    quoted = re.search(r"'([^']+)'", said)
    of = re.search(r"\b(ml\.[\w.-]+\w)", said)
    name = quoted[1] if quoted else f"{of[1]} for training job usage" if of else "the one named"
    limit = re.search(r"is (\d+) (?:Instances|instances)", said)
    now = f" is {limit[1]}" if limit else " is used up"
    key = "instance_type=TYPE" if re.search(r"endpoint|serverless|transform job", said) else "launch=NAME"
    return (
        f"the quota '{name}'{now} ({said}): have it raised in the console (Service Quotas, Amazon SageMaker), "
        f"or choose another machine, {key}."
    )


def _attempts(error: ClientError) -> str:
    retries: Any = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return f"{int(retries) + 1} times" if retries else "once"


def _action(error: ClientError) -> str:
    """Name the permission that an operation needs, for answers that do not (those of S3 to HEAD have no text)."""
    operation = error.operation_name
    if operation in _ACTIONS:
        return _ACTIONS[operation]
    service = "iam" if operation.endswith("Role") else "logs" if "Log" in operation else "sagemaker"
    return f"{service}:{operation}"


def _plain(error: BaseException) -> str:
    """Return an error's text as one line without its full stop."""
    return " ".join(str(error).split()).rstrip(".")
