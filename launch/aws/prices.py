"""What machines cost, from AWS's price list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from launch.aws.errors import translated
from launch.pricing import SERVICE_CODE, price_filters

if TYPE_CHECKING:
    from launch.aws.session import Aws

# The price list is the same everywhere but asked here: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference
REGION = "us-east-1"


def training_products(aws: Aws, instance_type: str) -> list[dict[str, Any]]:
    """Return the price list's entries of a machine that trains in the account's region, as AWS gives them.

    Args:
        aws: The account; its region is the one that prices are asked for.
        instance_type: ``ml.g5.xlarge``.

    Returns:
        Products: ``product.attributes.instanceName`` (``ml.g5.xlarge``), ``terms.OnDemand.*.priceDimensions.*`` with
        ``pricePerUnit.USD`` for ``unit`` ``Hrs``, ``publicationDate``.

    Raises:
        UserError: the list cannot be had (``pricing:GetProducts``).
    """
    filters = price_filters(aws.region, instance_type)
    with translated("asking for AWS's prices"):
        pages = aws.client("pricing", region=REGION).get_paginator("get_products")
        found = pages.paginate(ServiceCode=SERVICE_CODE, Filters=filters, FormatVersion="aws_v1")
        return [json.loads(text) for page in found for text in page["PriceList"]]
