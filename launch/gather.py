"""The facts that a plan needs: from the account, or, for a dry run and ``launch=local``, from this machine alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from dogbreed import __version__
from dogbreed.errors import UserError
from launch.facts import BundleFacts, Facts
from launch.pricing import TRAINING, PriceTable, cached_prices, parse_price_list
from launch.settings import LaunchSettings

if TYPE_CHECKING:
    from launch.aws.session import Aws

# Prices change now and then: those of a month ago are asked for anew.
PRICES_DAYS = 30


class _Stamp(TypedDict):
    now: datetime
    token: str
    version: str


def facts_here(settings: LaunchSettings, bundle: BundleFacts) -> Facts:
    """Return what is known without asking AWS; the rest are placeholders.

    Args:
        settings: The ``launch`` block; a region may also come from ``AWS_REGION`` or ``AWS_DEFAULT_REGION``.
        bundle: The code.

    Raises:
        UserError: the table of prices is none, or Amazon has no such container.
    """
    region = settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    settings = replace(settings, region=region)
    facts = Facts.without_aws(settings, bundle=bundle, prices=known_prices(settings), **_stamp())
    if not region or settings.is_local or settings.image != "auto":
        return facts
    try:
        image = _image(settings, region)
    except ImportError:  # without the sagemaker extra, which a dry run can do without
        return facts
    marks = {text: origin for text, origin in facts.placeholders.items() if text != facts.image}
    return replace(facts, image=image, placeholders=marks)


def facts_of_account(aws: Aws, settings: LaunchSettings, bundle: BundleFacts, say: Callable[[str], None]) -> Facts:
    """Ask the account for role and bucket, and for prices where they are not known.

    Args:
        aws: The account.
        settings: The ``launch`` block.
        bundle: The code.
        say: Told why prices are unknown.

    Raises:
        UserError: there is no role or bucket that serves, or Amazon has no such container.
    """
    from launch.aws.bucket import find_bucket
    from launch.aws.identity import find_role
    from launch.aws.images import rule_image

    return Facts(
        region=aws.region,
        bucket=find_bucket(aws, settings),
        role_arn=find_role(aws, settings),
        image=_image(settings, aws.region) if settings.image == "auto" else settings.image,
        rule_image=rule_image(aws.region) if settings.debugger is not None else "",
        bundle=bundle,
        prices=asked_prices(aws, settings, str(settings.instance_type), say),
        **_stamp(),
    )


def _stamp() -> _Stamp:
    return {"now": datetime.now(UTC), "token": secrets.token_hex(2), "version": __version__}


def _image(settings: LaunchSettings, region: str) -> str:
    from launch.aws.images import training_image

    return training_image(settings.image_version, region, str(settings.instance_type))


def known_prices(settings: LaunchSettings) -> PriceTable | None:
    """Return the user's table, or what AWS said before."""
    if settings.prices:
        return PriceTable.read(Path(settings.prices).expanduser())
    return PriceTable.read(cached_prices()) if cached_prices().is_file() else None


def asked_prices(
    aws: Aws, settings: LaunchSettings, instance: str, say: Callable[[str], None], use: str = TRAINING
) -> PriceTable | None:
    """Return the user's table, or AWS's: what it said within the last month, or says now.

    Args:
        aws: The account.
        settings: Names the user's table, if there is one.
        instance: Whose price is wanted.
        say: Told why it is unknown.
        use: What the machine is for.
    """
    known, today = known_prices(settings), datetime.now(UTC).date()
    if settings.prices:
        return known
    if known and _is_fresh(known, today) and known.hourly_usd(aws.region, instance, use) is not None:
        return known
    from launch.aws.prices import products_of

    try:
        found = parse_price_list(products_of(aws, instance, use), fetched=today, use=use)
    except UserError as error:
        say(f"The price of {instance} is unknown: {error}")
        return known
    table = known.merged(found) if known else found
    table.write(cached_prices())
    return table


def _is_fresh(table: PriceTable, today: date) -> bool:
    return table.dated is not None and (today - table.dated).days < PRICES_DAYS
