"""The facts that a plan needs: from the account, or, for a dry run, from this machine alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dogbreed import __version__
from launch.facts import NO_ACCOUNT
from launch.gather import asked_prices, known_prices
from launch.hosting.archive import Archive
from launch.hosting.plan import HostFacts
from launch.hosting.settings import DeploySettings, TransformSettings
from launch.pricing import HOSTING, TRANSFORM

if TYPE_CHECKING:
    from launch.aws.session import Aws


def facts_here(settings: DeploySettings | TransformSettings, archive: Archive) -> HostFacts:
    """Return what is known without asking AWS; the rest are placeholders.

    Raises:
        UserError: the table of prices is none, or Amazon has no such container.
    """
    launch = settings.launch
    region = launch.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "<region>"
    bucket = launch.bucket or f"sagemaker-{region}-<account>"
    role = launch.role or "placeholder"
    role_arn = role if role.startswith("arn:") else f"arn:aws:iam::{NO_ACCOUNT}:role/{role}"
    image = settings.image
    if image == "auto":
        image = f"<image_of_Ray_Serve_{settings.image_version}>"
        if not region.startswith("<"):
            with suppress(ImportError):  # without the sagemaker extra, which a dry run can do without
                image = _image(settings, region)
    made_up = {
        region: "launch.region, or your AWS configuration's",
        bucket: "launch.bucket, or SageMaker's own in your account",
        role_arn: "launch.role, SAGEMAKER_ROLE, or the role that you work under",
        image: "image, or Amazon's container, by region and machine",
    }
    marks = {text: origin for text, origin in made_up.items() if "<" in text or NO_ACCOUNT in text}
    prices = known_prices(replace(launch, region=launch.region))
    return HostFacts(region, bucket, role_arn, image, archive.sha256, __version__, prices, marks)


def facts_of_account(
    aws: Aws, settings: DeploySettings | TransformSettings, archive: Archive, say: Callable[[str], None]
) -> HostFacts:
    """Ask the account for role and bucket, and for prices where they are not known.

    Args:
        aws: The account.
        settings: Of the endpoint or job.
        archive: Of the model.
        say: Told why prices are unknown.

    Raises:
        UserError: there is no role or bucket that serves, or Amazon has no such container.
    """
    from launch.aws.bucket import find_bucket
    from launch.aws.identity import find_role

    launch = settings.launch
    use = HOSTING if isinstance(settings, DeploySettings) else TRANSFORM
    instance = settings.instance_type
    return HostFacts(
        region=aws.region,
        bucket=find_bucket(aws, launch),
        role_arn=find_role(aws, launch),
        image=_image(settings, aws.region) if settings.image == "auto" else settings.image,
        archive_sha256=archive.sha256,
        version=__version__,
        prices=asked_prices(aws, launch, instance, say, use) if instance else known_prices(launch),
    )


def _image(settings: DeploySettings | TransformSettings, region: str) -> str:
    from launch.aws.images import serving_image

    return serving_image(settings.image_version, region, settings.instance_type)
