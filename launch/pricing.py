"""The most that a job can cost, from prices that are known; none are invented.

Prices come from AWS's Price List, whose answers `parse_price_list` reads
(https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html), or from a table that the user names.
They are kept with the day on which they were had.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from dogbreed.errors import UserError
from dogbreed.files import user_cache_dir, write_json

HOUR_S = 3600
# A job that has reached its limit gets SIGTERM, and 120 s to end:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
STOPPING_S = 120
# What a machine is used for; each use has a price of its own.
TRAINING, HOSTING, TRANSFORM = "Training", "Hosting", "BatchTransform"
AWS_LIST = "AWS Price List"
NOT_IN_IT = "not in it: the upload of results once the time is up, disks, S3, logs, taxes"


@dataclass(frozen=True)
class PriceTable:
    """US dollars for an hour of one instance.

    Args:
        prices: Region to instance type to price; ``Hosting:ml.m5.large`` for another use than training.
        dated: The day on which they were had; None for a table that does not say.
        source: Where they are from, in words.
    """

    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    dated: date | None = None
    source: str = ""

    def hourly_usd(self, region: str, instance_type: str, use: str = TRAINING) -> float | None:
        """Return the price of an hour; None where it is unknown.

        Args:
            region: AWS region.
            instance_type: ``ml.g5.xlarge``.
            use: ``Training``, ``Hosting`` or ``BatchTransform``. A table of the user's may say one price for all.
        """
        row = self.prices.get(region, {})
        own = row.get(price_key(instance_type, use))
        return row.get(instance_type) if own is None and self.source != AWS_LIST else own

    def origin(self) -> str:
        """Say where its prices are from."""
        return f"{self.source or 'a table'}{f' of {self.dated}' if self.dated else ', without a date'}"

    def merged(self, newer: PriceTable) -> PriceTable:
        """Return both, the newer one's prices where both have one."""
        regions = {**self.prices, **newer.prices}
        prices = {region: {**self.prices.get(region, {}), **newer.prices.get(region, {})} for region in regions}
        return PriceTable(prices, newer.dated or self.dated, newer.source or self.source)

    def write(self, path: Path) -> None:
        """Keep the table as JSON, with its day."""
        path.parent.mkdir(parents=True, exist_ok=True)
        dated = self.dated.isoformat() if self.dated else None
        write_json(path, {"date": dated, "source": self.source, "prices": self.prices})

    @classmethod
    def read(cls, path: Path) -> PriceTable:
        """Read a table: ``{region: {instance: USD an hour}}`` as YAML or JSON, or what `write` has written.

        Raises:
            UserError: the file cannot be read, or a price is none.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            msg = f"{path} cannot be read as a table of prices ({reason}): give YAML or JSON, {_FORM}."
            raise UserError(msg) from error
        if not isinstance(content, Mapping):
            msg = f"{path} is no table of prices: give YAML or JSON, {_FORM}."
            raise UserError(msg)
        whole = content if isinstance(content.get("prices"), Mapping) else {"prices": content}
        prices = {str(region): _row(path, region, row) for region, row in whole["prices"].items()}
        return cls(prices, _day(path, whole.get("date")), str(whole.get("source") or path))


_FORM = "{region: {instance: USD an hour}}"


def cached_prices() -> Path:
    """Return where prices that were asked for are kept."""
    return user_cache_dir() / "launch" / "prices.json"


def _row(path: Path, region: object, row: object) -> dict[str, float]:
    if not isinstance(row, Mapping):
        msg = f"{path}: {region} must hold instance types with prices, {_FORM}."
        raise UserError(msg)
    for instance, price in row.items():
        is_number = isinstance(price, (int, float)) and not isinstance(price, bool)
        if not is_number or not math.isfinite(price) or price < 0:
            msg = f"{path}: {region}.{instance}={price} is no price: give US dollars an hour."
            raise UserError(msg)
    return {str(instance): float(price) for instance, price in row.items()}


def _day(path: Path, value: object) -> date | None:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        msg = f"{path}: date={value} is no day: write it as 2026-11-22."
        raise UserError(msg) from error


def price_key(instance_type: str, use: str) -> str:
    """Return how a table names the price of a machine for a use.

    Example:
        >>> price_key("ml.m5.large", TRAINING), price_key("ml.m5.large", HOSTING)
        ('ml.m5.large', 'Hosting:ml.m5.large')
    """
    return instance_type if use == TRAINING else f"{use}:{instance_type}"


def parse_price_list(products: Iterable[str | Mapping[str, Any]], *, fetched: date, use: str = TRAINING) -> PriceTable:
    """Read what GetProducts answers.

    Args:
        products: Items of its ``PriceList``: JSON texts, or what they hold.
        fetched: Today.
        use: What the machines are for.

    Returns:
        On-demand prices of instances for it; where an instance has several, the highest, since a bound is wanted.
        Anything else in the answer is passed over.
    """
    prices: dict[str, dict[str, float]] = {}
    for item in products:
        product = json.loads(item) if isinstance(item, str) else item
        attributes = product.get("product", {}).get("attributes", {})
        instance = attributes.get("instanceName") or attributes.get("instanceType", "").partition("-")[0]
        if attributes.get("component", "").replace(" ", "") != use or not instance.startswith("ml."):
            continue
        for usd in _hourly(product.get("terms", {}).get("OnDemand", {})):
            row = prices.setdefault(attributes.get("regionCode", ""), {})
            key = price_key(instance, use)
            row[key] = max(usd, row.get(key, 0.0))
    return PriceTable(prices, fetched, AWS_LIST)


def _hourly(terms: Mapping[str, Any]) -> Iterable[float]:
    for term in terms.values():
        for dimension in term.get("priceDimensions", {}).values():
            price = dimension.get("pricePerUnit", {}).get("USD")
            if price is not None and str(dimension.get("unit", "")).lower() in ("hrs", "hours", "hour"):
                yield float(price)


@dataclass(frozen=True)
class Cost:
    """The most that a job can cost.

    Args:
        instance_type: What it runs on.
        num_instances: How many of them.
        seconds: That each can be billed for at most.
        hourly_usd: Price of one; None if it is unknown.
        origin: Where the price is from, in words.
        num_jobs: Of the same kind, each of which can be billed for so long: a tuning job's children.
    """

    instance_type: str
    num_instances: int
    seconds: int
    hourly_usd: float | None
    origin: str
    num_jobs: int = 1

    @property
    def usd(self) -> float | None:
        """The bound in US dollars, rounded up to a cent; None if the price is unknown."""
        if self.hourly_usd is None:
            return None
        exact = self.hourly_usd * self.num_instances * self.seconds * self.num_jobs / HOUR_S
        return math.ceil(round(exact * 100, 6)) / 100

    def describe(self) -> str:
        """Say it in one line."""
        what = f"{self.num_instances} × {self.instance_type} for at most {self.seconds} s"
        what = f"{self.num_jobs} jobs, each {what}" if self.num_jobs > 1 else what
        if self.usd is None:
            return f"cost unknown ({what}; {self.origin})"
        return f"at most {self.usd:.2f} USD ({what} at {self.hourly_usd:g} USD an hour, {self.origin}; {NOT_IN_IT})"


def most_usd(request: Mapping[str, Any], region: str, table: PriceTable | None) -> Cost:
    """Reckon the most that a CreateTrainingJob request can cost.

    Billed is each instance's time from the start of the download to the end of the upload, which
    ``MaxRuntimeInSeconds`` bounds: of all attempts of a RetryStrategy in total, as StoppingCondition's page says, so
    retries do not multiply it. After the limit come the 120 s of SIGTERM, which are counted, and the upload, for which
    AWS names no limit but 30 days and which is not. With spot, waiting is not billed: ``MaxWaitTimeInSeconds`` is
    waiting plus "the amount of time the job can run"; and spot's price is never above that on demand, by which this
    goes. A warm pool is billed until its time is up. Amazon's own debugging rules are free.

    Args:
        request: The whole request.
        region: Where it is sent.
        table: What prices are known.
    """
    resources = request["ResourceConfig"]
    instance = resources.get("InstanceType", "")
    seconds = request["StoppingCondition"]["MaxRuntimeInSeconds"] + STOPPING_S
    seconds += resources.get("KeepAlivePeriodInSeconds", 0)
    hourly_usd = table.hourly_usd(region, instance) if table else None
    if table is None:
        origin = "no prices were asked for"
    elif hourly_usd is None:
        origin = f"{table.source or 'the table'} has no price of it in {region}"
    else:
        origin = table.origin()
    return Cost(instance, resources["InstanceCount"], seconds, hourly_usd, origin)


def check_cap(cost: Cost, max_cost_usd: float | None) -> None:
    """Refuse what could cost more than allowed.

    Args:
        cost: Of all jobs that will be started.
        max_cost_usd: ``launch.max_cost_usd``; None for no limit.

    Raises:
        UserError: it could cost more, or nobody knows.
    """
    if max_cost_usd is None:
        return
    if cost.usd is None:
        msg = (
            f"launch.max_cost_usd={max_cost_usd:g} cannot be kept, since the price of {cost.instance_type} is unknown "
            f"({cost.origin}): give a table, launch.prices=FILE.yaml, or leave the limit out."
        )
        raise UserError(msg)
    if cost.usd > max_cost_usd:
        what, fewer = ("the jobs", " or max_jobs") if cost.num_jobs > 1 else ("the job", "")
        msg = (
            f"launch.max_cost_usd={max_cost_usd:g}: {what} could cost {cost.describe()}. Lower "
            f"launch.max_run_s{fewer}, or raise the limit."
        )
        raise UserError(msg)
