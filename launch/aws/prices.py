"""What machines cost, from AWS's price list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from launch.aws.errors import translated

if TYPE_CHECKING:
    from launch.aws.session import Aws

# The price list is the same everywhere but asked here: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference
REGION = "us-east-1"


def products_of(aws: Aws, instance_type: str, use: str) -> list[dict[str, Any]]:
    """Return the price list's entries of a machine in the account's region, as AWS gives them.

    Args:
        aws: The account; its region is the one that prices are asked for.
        instance_type: ``ml.g5.xlarge``.
        use: What it is for, a ``component`` of the list without its spaces: ``Training``, ``Hosting``.

    Returns:
        Products: ``product.attributes`` (``instanceName``, ``regionCode``, and always ``component``),
        ``terms.OnDemand.*.priceDimensions.*`` with ``pricePerUnit.USD`` for ``unit`` ``Hrs``, ``publicationDate``.
        None where AWS lists no price.

    Raises:
        UserError: the list cannot be had (``pricing:GetProducts``).
    """
    wanted = {"regionCode": aws.region, "instanceName": instance_type}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    with translated("asking for AWS's prices"):
        pages = aws.client("pricing", region=REGION, is_patient=False).get_paginator("get_products")
        found = pages.paginate(ServiceCode="AmazonSageMaker", Filters=filters, FormatVersion="aws_v1")
        products = [json.loads(text) for page in found for text in page["PriceList"]]
    return [product for product in products if _is_for(use, product)]


def _is_for(use: str, product: dict[str, Any]) -> bool:
    """Say whether an entry is for a use; of its two names for that, some entries have only one."""
    attributes = product.get("product", {}).get("attributes", {})
    component = str(attributes.get("component", attributes.get("platoinstancetype", "")))
    if component.replace(" ", "") != use:
        return False
    attributes["component"] = use
    return True
