"""What an endpoint costs: for an hour, for a thousand requests, so far; from prices that are known, none invented.

Amazon bills a machine from the moment it exists, requests or not; a serverless endpoint by the time that requests take
and the memory it has: https://aws.amazon.com/sagemaker/ai/pricing/. A serverless price comes from a table of the
user's alone (`launch.prices`): ``{region: {serverless: USD for a GB-second}}``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dogbreed.errors import UserError
from launch.pricing import HOSTING, HOUR_S, TRANSFORM, PriceTable

if TYPE_CHECKING:
    from launch.hosting.settings import DeploySettings, TransformSettings

SERVERLESS = "serverless"
NOT_IN_IT = "not in it: data in and out, S3, logs, taxes"


@dataclass(frozen=True)
class HourlyCost:
    """What machines cost in an hour.

    Args:
        what: Machines or memory, in words.
        num_least: Machines that run at least; of a serverless endpoint GB in use when nobody asks.
        num_most: Machines that run at most; of a serverless endpoint the GB of all requests at a time.
        unit_usd: Price of one machine for an hour, or of a GB; None if it is unknown.
        origin: Where the price is from, in words.
        memory_gb: Of a serverless worker; None for machines.
        lasting: For how long it is paid, in words.
    """

    what: str
    num_least: float
    num_most: float
    unit_usd: float | None
    origin: str
    memory_gb: float | None = None
    lasting: str = "as long as it exists, requests or not"

    @property
    def most_usd(self) -> float | None:
        """The most for an hour, in US dollars; None if the price is unknown."""
        return None if self.unit_usd is None else self.unit_usd * self.num_most

    @property
    def least_usd(self) -> float | None:
        """For an hour without a request, in US dollars; None if the price is unknown."""
        return None if self.unit_usd is None else self.unit_usd * self.num_least

    def describe(self) -> str:
        """Say it in one line."""
        if self.unit_usd is None:
            return f"unknown ({self.what}; {self.origin}); it is paid for {self.lasting}"
        least, most = self.least_usd or 0.0, self.most_usd or 0.0
        if self.memory_gb is not None:
            words = f"{least:.4g} USD an hour without requests, at most {most:.4g}"
        elif least == most:
            words = f"{least:.4g} USD an hour {self.lasting}"
        else:
            words = f"{least:.4g} to {most:.4g} USD an hour {self.lasting}"
        return f"{words} ({self.what}, {self.origin}; {NOT_IN_IT})"

    def describe_requests(self, answer_s: float) -> str:
        """Say what a thousand requests cost.

        Args:
            answer_s: Seconds that one took, measured.
        """
        pace = f"{answer_s * 1000:.0f} ms each, as measured"
        if self.unit_usd is None:
            return f"unknown, since the price is ({pace})"
        if self.memory_gb is not None:
            usd = self.unit_usd / HOUR_S * self.memory_gb * answer_s * 1000
            return f"{usd:.3g} USD ({pace}, the network's time among it)"
        busy = self.unit_usd * answer_s * 1000 / HOUR_S
        idle = self.unit_usd * 24
        return f"{busy:.3g} USD where one follows the other all the time ({pace}); {idle:.3g} USD where they take a day"


def endpoint_cost(settings: DeploySettings, region: str, table: PriceTable | None) -> HourlyCost:
    """Reckon what an endpoint costs in an hour.

    Args:
        settings: Of the endpoint.
        region: Where it is.
        table: What prices are known.
    """
    if settings.is_serverless:
        memory_gb = (settings.memory_mb or 0) / 1024
        price = table.prices.get(region, {}).get(SERVERLESS) if table else None
        origin = table.origin() if table and price is not None else "Amazon's list is not asked for serverless prices"
        warm_gb = memory_gb * (settings.provisioned_concurrency or 0)
        most_gb = memory_gb * (settings.max_concurrency or 0)
        what = f"serverless, {memory_gb:g} GB, at most {settings.max_concurrency} requests at a time"
        return HourlyCost(
            what, warm_gb, most_gb, None if price is None else price * HOUR_S, origin, memory_gb=memory_gb
        )
    scale = settings.autoscale
    least, most = (settings.instance_count,) * 2 if scale.max is None else (scale.min, scale.max)
    return _machines(str(settings.instance_type), least, most, region, table, HOSTING)


def transform_cost(settings: TransformSettings, region: str, table: PriceTable | None) -> HourlyCost:
    """Reckon what a transform job costs in an hour."""
    count = settings.instance_count
    cost = _machines(settings.instance_type, count, count, region, table, TRANSFORM)
    return replace(cost, lasting="while the job runs")


def check_hourly_cap(cost: HourlyCost, max_usd_per_hour: float | None) -> None:
    """Refuse what could cost more in an hour than allowed.

    Args:
        cost: Of the endpoint.
        max_usd_per_hour: The limit; None for none.

    Raises:
        UserError: it could cost more, or nobody knows.
    """
    if max_usd_per_hour is None:
        return
    if cost.most_usd is None:
        msg = (
            f"max_usd_per_hour={max_usd_per_hour:g} cannot be kept, since the price is unknown ({cost.what}; "
            f"{cost.origin}): give a table, launch.prices=FILE.yaml, or leave the limit out."
        )
        raise UserError(msg)
    if cost.most_usd > max_usd_per_hour:
        msg = (
            f"max_usd_per_hour={max_usd_per_hour:g}: it could cost {cost.describe()}. Choose a smaller machine or "
            "fewer of them, or raise the limit."
        )
        raise UserError(msg)


def _machines(instance: str, least: int, most: int, region: str, table: PriceTable | None, use: str) -> HourlyCost:
    count = f"{least}" if least == most else f"{least} to {most}"
    price = table.hourly_usd(region, instance, use) if table else None
    if table is None:
        origin = "no prices were asked for"
    elif price is None:
        origin = f"{table.source or 'the table'} has no price of it in {region}"
    else:
        origin = f"at {price:g} USD each, {table.origin()}"
    return HourlyCost(f"{count} × {instance}", least, most, price, origin)
