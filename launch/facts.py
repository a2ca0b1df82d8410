"""What a plan needs besides the configuration: what an account knows, and the code; or placeholders for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from launch.pricing import PriceTable
from launch.settings import LaunchSettings

# Stands in for an account in what must look like an ARN.
NO_ACCOUNT = "000000000000"


@dataclass(frozen=True)
class BundleFacts:
    """What is known of the code that travels.

    Args:
        digest: SHA-256 of sourcedir.tar.gz.
        num_bytes: Its size; None if it was not made.
        files: Name to size of what is in it.
        revision: Of the source, with a mark if it was changed since.
    """

    digest: str = "<sha256 of the code>"
    num_bytes: int | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    revision: str = "<revision>"


@dataclass(frozen=True)
class Facts:
    """What a plan needs besides the configuration.

    Args:
        region: AWS region.
        bucket: Of S3.
        role_arn: What the job may do.
        image: Address of its container.
        now: When it is started.
        token: Letters and digits that set the job's name apart.
        version: Of this package.
        rule_image: Address of the image with Amazon's debugging rules.
        bundle: The code.
        addresses: Channel to where it lies in S3; what is missing has a placeholder.
        prices: What is known of them.
        placeholders: What stands in for something, to where that would come from.
    """

    region: str
    bucket: str
    role_arn: str
    image: str
    now: datetime
    token: str
    version: str
    rule_image: str = "<image of Amazon's rules>"
    bundle: BundleFacts = field(default_factory=BundleFacts)
    addresses: Mapping[str, str] = field(default_factory=dict)
    prices: PriceTable | None = None
    placeholders: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def without_aws(
        cls,
        settings: LaunchSettings,
        *,
        now: datetime,
        token: str,
        version: str,
        bundle: BundleFacts | None = None,
        prices: PriceTable | None = None,
    ) -> Facts:
        """Return facts for a dry run or a local one: what only an account knows has a placeholder, marked as such."""
        region = settings.region or "<region>"
        bucket = settings.bucket or f"sagemaker-{region}-<account>"
        role = settings.role or "placeholder"
        role_arn = role if role.startswith("arn:") else f"arn:aws:iam::{NO_ACCOUNT}:role/{role}"
        image = f"<image of PyTorch {settings.image_version}>" if settings.image == "auto" else settings.image
        made_up = {
            region: "launch.region, or your AWS configuration's",
            bucket: "launch.bucket, or SageMaker's own in your account",
            role_arn: "launch.role, SAGEMAKER_ROLE, or the role that you work under",
            image: "launch.image, or Amazon's container, by region and machine",
        }
        marks = {text: origin for text, origin in made_up.items() if "<" in text or NO_ACCOUNT in text}
        bundle = bundle or BundleFacts()
        return cls(
            *(region, bucket, role_arn, image, now, token, version),
            bundle=bundle,
            prices=prices,
            placeholders=marks,
        )
