"""What `launch.endpoints` prints: endpoints, what is left over, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dogbreed.tables import format_table
from launch.hosting.leftovers import Leftover
from launch.hosting.protocols import EndpointState
from launch.hosting.taken import is_ours, kind_of
from launch.job_tables import age_of
from launch.preview import size_text
from launch.pricing import HOSTING, HOUR_S, PriceTable

if TYPE_CHECKING:
    from launch.aws.endpoints import Endpoints

COLUMNS = ("endpoint", "status", "kind", "machines", "age", "USD/hour", "USD so far", "model")


def list_endpoints(service: Endpoints, prices: PriceTable | None, *, is_everybodys: bool = False) -> str:
    """Make a table of endpoints, the newest first.

    Args:
        service: Where they are.
        prices: What is known of them.
        is_everybodys: Those that are not ours, too.

    Raises:
        UserError: AWS cannot be asked.
    """
    rows = []
    failures = []
    for found in service.list_all("endpoint"):
        state = service.find(found.name) if is_everybodys or is_ours(found.tags) else None
        if state is None:
            continue
        config = service.describe("configuration", state.config_name) if state.config_name else None
        rows.append(_row(state, config, service.region, prices))
        if state.failure:
            failures.append(f"{state.name}: {' '.join(state.failure.split())}")
    if not rows:
        return f"{service.region} has no endpoints{'' if is_everybodys else ' of ours'}."
    return "\n".join([format_table(COLUMNS, rows), *failures])


def list_leftovers(found: Sequence[Leftover], region: str) -> str:
    """Make a table of what is left over."""
    if not found:
        return f"{region} has nothing left over of ours."
    rows = [
        [
            item.kind,
            item.name,
            age_of(item.created) if item.created else None,
            size_text(item.num_bytes) if item.num_bytes is not None else None,
            item.why,
        ]
        for item in found
    ]
    return format_table(("what", "name", "age", "size", "why"), rows)


def cost_so_far(
    state: EndpointState, config: Mapping[str, Any] | None, region: str, prices: PriceTable | None
) -> tuple[float | None, float | None]:
    """Return what an endpoint costs in an hour and has cost so far, in US dollars.

    It goes by the machines that it has now and the whole of its life, which is right unless their number has changed.

    Returns:
        Both None where no price is known, or it has no machines.
    """
    types = {item["VariantName"]: item.get("InstanceType") for item in (config or {}).get("ProductionVariants", ())}
    hourly = 0.0
    for variant in state.variants:
        instance = types.get(variant["VariantName"])
        price = prices.hourly_usd(region, instance, HOSTING) if prices and instance else None
        if price is None:
            return None, None
        hourly += price * variant.get("CurrentInstanceCount", 0)
    if not state.variants:
        return None, None
    seconds = (datetime.now(UTC) - state.created.astimezone(UTC)).total_seconds()
    return hourly, hourly * seconds / HOUR_S


def _row(
    state: EndpointState, config: Mapping[str, Any] | None, region: str, prices: PriceTable | None
) -> list[object]:
    variants = (config or {}).get("ProductionVariants") or [{}]
    first = variants[0]
    count = state.variants[0].get("CurrentInstanceCount") if state.variants else first.get("InitialInstanceCount")
    serverless = first.get("ServerlessConfig")
    machines = (
        f"{serverless['MemorySizeInMB']} MB × at most {serverless['MaxConcurrency']}"
        if serverless
        else f"{count} × {first['InstanceType']}"
        if "InstanceType" in first
        else None
    )
    hourly, so_far = cost_so_far(state, config, region, prices)
    return [
        state.name,
        state.status,
        kind_of(config or {}),
        machines,
        age_of(state.created),
        None if hourly is None else f"{hourly:.3f}",
        None if so_far is None else f"{so_far:.2f}",
        first.get("ModelName"),
    ]
