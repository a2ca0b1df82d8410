"""The way to an AWS account: credentials, region, clients that are patient."""

from __future__ import annotations

import logging
import os
import re
import threading
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

from dogbreed.errors import UserError, did_you_mean
from launch.aws.errors import INSTALL, translated

if TYPE_CHECKING:
    import boto3

    from launch.settings import LaunchSettings

# With backoff that doubles up to 20 s, drawn at random: some two minutes of patience.
MAX_ATTEMPTS, FEW_ATTEMPTS = 10, 4
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
# As many connections as `launch.upload` has threads, and those that a large file's parts need.
MAX_CONNECTIONS = 32


class Aws:
    """An account in a region.

    Args:
        session: Credentials and configuration.
        region: Where clients ask.
        endpoint_url: Where everything is asked instead, by ``AWS_ENDPOINT_URL`` (the stand-in); None for AWS itself.
            Clients read it, and those of single services, from the environment by themselves.
    """

    def __init__(self, session: boto3.Session, region: str, endpoint_url: str | None) -> None:
        self.session = session
        self.region = region
        self.endpoint_url = endpoint_url
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._lock = threading.Lock()

    def client(self, name: str, region: str | None = None, *, is_patient: bool = True) -> Any:
        """Return a boto3 client, the same one each time; it may be used by several threads.

        Throttled and broken-off requests are tried again by themselves, up to `MAX_ATTEMPTS` times.

        Args:
            name: Of the service, as boto3 has it: ``s3``, ``sagemaker``, ``logs``.
            region: Instead of the session's.
            is_patient: False for what is asked again anyway, or can be done without: a few attempts, short waits.
        """
        key = (name, region or self.region, is_patient)
        with self._lock, translated(f"preparing {name}"):
            if key not in self._clients:
                self._clients[key] = self.session.client(name, region_name=key[1], config=self._config(is_patient))
        return self._clients[key]

    @cached_property
    def identity(self) -> dict[str, str]:
        """Whose credentials these are, as STS says it: ``Account``, ``Arn``, ``UserId``.

        Raises:
            UserError: there are none, they have expired, or AWS cannot be reached.
        """
        with translated("asking AWS who we are"):
            answer = self.client("sts").get_caller_identity()
        return {name: str(answer[name]) for name in ("Account", "Arn", "UserId")}

    @property
    def account(self) -> str:
        """The account's number, 12 digits; raises as `identity`."""
        return self.identity["Account"]

    @property
    def partition(self) -> str:
        """``aws``, ``aws-cn``, ``aws-us-gov``, …: the beginning of ARNs in this region."""
        return str(self.session.get_partition_for_region(self.region))

    def _config(self, is_patient: bool) -> Any:  # noqa: FBT001
        from botocore.config import Config

        return Config(
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS if is_patient else FEW_ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S if is_patient else CONNECT_TIMEOUT_S,
            max_pool_connections=MAX_CONNECTIONS,
            user_agent_extra=f"dogbreed/{_version()}",
            # A stand-in has no host name for every bucket.
            s3={"addressing_style": "path"} if self.endpoint_url or "AWS_ENDPOINT_URL_S3" in os.environ else None,
        )


def connect(settings: LaunchSettings) -> Aws:
    """Find credentials and region as the AWS command line does; nothing is asked yet.

    Args:
        settings: ``launch.region`` comes before ``AWS_REGION``, ``AWS_DEFAULT_REGION`` and the profile's.

    Raises:
        UserError: the AWS SDK is not installed, there is no region, or none of that name.
    """
    with translated("reading the AWS configuration"):
        try:
            import boto3
        except ImportError as error:
            raise UserError(INSTALL) from error
        logging.getLogger("botocore").setLevel(logging.WARNING)  # where credentials were found is told by nobody's wish
        session = boto3.Session()
        region = settings.region or os.environ.get("AWS_REGION") or session.region_name
        if not region:
            msg = "No AWS region is set: launch.region=eu-central-1, AWS_REGION, or aws configure."
            raise UserError(msg)
        _check_region(session, region, "launch.region" if settings.region else "AWS_REGION")
    return Aws(session, region, os.environ.get("AWS_ENDPOINT_URL") or None)


def _check_region(session: boto3.Session, region: str, key: str) -> None:
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("sagemaker", partition_name=partition)
    ]
    if region in known:
        return
    hint = did_you_mean(region, known)
    if hint.startswith("Did") or not re.fullmatch(r"[a-z]{2,5}(-[a-z]+){1,3}-\d{1,2}", region):
        msg = f"{key}={region} is no region that has SageMaker. {hint or 'An example: eu-central-1.'}"
        raise UserError(msg)


def _version() -> str:
    try:
        return metadata.version("dogbreed")
    except metadata.PackageNotFoundError:
        return "0"
