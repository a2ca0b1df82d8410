"""The most that a job can cost. Every instance and price here is made up: none of them is Amazon's."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_helpers import edited, facts_of

from dogbreed import UserError
from launch.plan import make_plan
from launch.pricing import PriceTable, cached_prices, check_cap, most_usd, parse_price_list

DAY = date(2026, 11, 22)
MADE_UP = PriceTable({"xx-test-1": {"ml.madeup.xlarge": 3.0}}, DAY, "made-up table")


def request_of(max_run_s=3480, count=1, **more):
    """A request as far as its cost goes; 3480 s and 120 s to stop are an hour."""
    resources = {"InstanceType": "ml.madeup.xlarge", "InstanceCount": count}
    if "keep_alive_s" in more:
        resources["KeepAlivePeriodInSeconds"] = more["keep_alive_s"]
    stopping = {"MaxRuntimeInSeconds": max_run_s}
    if "max_wait_s" in more:
        stopping["MaxWaitTimeInSeconds"] = more["max_wait_s"]
    return {"ResourceConfig": resources, "StoppingCondition": stopping}


def product(instance="ml.madeup.xlarge", usd="3.0000000000", component="Training", unit="Hrs", region="xx-test-1"):
    """An item of GetProducts' PriceList, of the documented form, with made-up content."""
    sku = f"SKU{instance}{component}{usd}"
    return json.dumps(
        {
            "product": {
                "productFamily": "ML Instance",
                "attributes": {
                    "regionCode": region,
                    "servicecode": "AmazonSageMaker",
                    "instanceType": f"{instance}-{component}",
                    "instanceName": instance,
                    "component": component,
                    "usagetype": f"XXT1-Train:{instance}",
                    "operation": "RunInstance",
                },
                "sku": sku,
            },
            "serviceCode": "AmazonSageMaker",
            "terms": {
                "OnDemand": {
                    f"{sku}.JRTCKXETXF": {
                        "priceDimensions": {
                            f"{sku}.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": unit,
                                "endRange": "Inf",
                                "description": f"${usd} per Hour for made-up training",
                                "appliesTo": [],
                                "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
                                "beginRange": "0",
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                        "sku": sku,
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "offerTermCode": "JRTCKXETXF",
                        "termAttributes": {},
                    }
                }
            },
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
        }
    )


def test_the_bound_is_price_times_time_times_count():
    assert most_usd(request_of(), "xx-test-1", MADE_UP).usd == 3.0
    assert most_usd(request_of(count=4), "xx-test-1", MADE_UP).usd == 12.0
    # The 120 s that a job gets to stop are paid for, as is a warm pool; waiting for spot is not.
    assert most_usd(request_of(max_run_s=3600), "xx-test-1", MADE_UP).usd == 3.1
    assert most_usd(request_of(keep_alive_s=1800), "xx-test-1", MADE_UP).usd == 4.5
    assert most_usd(request_of(max_wait_s=86_400), "xx-test-1", MADE_UP).usd == 3.0


@given(st.integers(1, 2_419_200), st.integers(1, 100), st.floats(0, 1000), st.integers(0, 21_600))
def test_the_bound_is_never_below_what_is_billed(max_run_s, count, hourly_usd, keep_alive_s):
    table = PriceTable({"xx-test-1": {"ml.madeup.xlarge": hourly_usd}})
    cost = most_usd(request_of(max_run_s, count, keep_alive_s=keep_alive_s), "xx-test-1", table)
    billed = hourly_usd * count * (max_run_s + 120 + keep_alive_s) / 3600
    assert billed - 1e-6 <= cost.usd <= billed + 0.0101


def test_retries_do_not_multiply_it():
    """StoppingCondition bounds all attempts in total."""
    costs = []
    for retries in (0, 30):
        cfg = edited(f"launch.max_retries={retries}", "launch.max_run_s=3480", "launch.instance_type=ml.madeup.xlarge")
        costs.append(make_plan(cfg, [], facts_of(cfg, region="xx-test-1", prices=MADE_UP)).cost.usd)
    assert costs == [3.0, 3.0]


def test_what_is_unknown_is_shown_as_unknown_and_a_cap_refuses_it():
    for table, why in ((None, "no prices were asked for"), (MADE_UP, "made-up table has no price of it in yy-test-1")):
        cost = most_usd(request_of(), "yy-test-1", table)
        assert cost.usd is None
        assert cost.describe().startswith("cost unknown (1 × ml.madeup.xlarge for at most 3600 s")
        assert why in cost.describe()
        check_cap(cost, None)
        with pytest.raises(UserError, match="launch.max_cost_usd=5 cannot be kept, since the price .* is unknown"):
            check_cap(cost, 5)


def test_the_cap():
    cost = most_usd(request_of(), "xx-test-1", MADE_UP)
    assert "at most 3.00 USD" in cost.describe()
    assert "made-up table of 2026-11-22" in cost.describe()
    assert "not in it: the upload of results" in cost.describe()
    check_cap(cost, 3.0)
    with pytest.raises(UserError, match=r"launch.max_cost_usd=2.99: the job could cost at most 3.00 USD .*max_run_s"):
        check_cap(cost, 2.99)
    check_cap(replace(cost, num_jobs=2), 6.0)
    with pytest.raises(
        UserError, match=r"the jobs could cost at most 9.00 USD \(3 jobs, each 1 × .* or max_jobs, or raise"
    ):
        check_cap(replace(cost, num_jobs=3), 6.0)


def test_a_plan_that_could_cost_more_is_refused():
    cfg = edited("launch.instance_type=ml.madeup.xlarge", "launch.max_cost_usd=5")
    with pytest.raises(UserError, match=r"launch.max_cost_usd=5: the job could cost at most 72.10 USD"):
        make_plan(cfg, [], facts_of(cfg, region="xx-test-1", prices=MADE_UP))
    with pytest.raises(UserError, match="is unknown"):
        make_plan(cfg, [], facts_of(cfg, prices=MADE_UP))


# -- Amazon's list ---------------------------------------------------------------


def test_amazons_answers_are_read():
    table = parse_price_list(
        [
            product(),
            product("ml.other.large", "0.5"),
            product(component="Hosting", usd="99.0"),
            product(usd="2.0"),  # another usage of the same machine: a bound takes the higher one
            product(unit="GB-Mo", usd="77.0"),
            product(region="yy-test-1", usd="4.0"),
            json.loads(product("ml.parsed.large", "1.5")),
            "{}",
        ],
        fetched=DAY,
    )
    expected = {"ml.madeup.xlarge": 3.0, "ml.other.large": 0.5, "ml.parsed.large": 1.5}
    assert table.prices == {"xx-test-1": expected, "yy-test-1": {"ml.madeup.xlarge": 4.0}}
    assert (table.dated, table.source) == (DAY, "AWS Price List")


# -- tables ------------------------------------------------------------------------


def test_a_table_is_kept_with_its_day(tmp_path, monkeypatch):
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path))
    MADE_UP.write(cached_prices())
    assert cached_prices().is_relative_to(tmp_path)
    assert PriceTable.read(cached_prices()) == MADE_UP


def test_a_table_of_the_users(tmp_path):
    (tmp_path / "p.yaml").write_text("xx-test-1:\n  ml.madeup.xlarge: 3\n")
    table = PriceTable.read(tmp_path / "p.yaml")
    assert table.hourly_usd("xx-test-1", "ml.madeup.xlarge") == 3.0
    assert table.hourly_usd("xx-test-1", "ml.other.xlarge") is None
    assert "without a date" in most_usd(request_of(), "xx-test-1", table).describe()
    (tmp_path / "d.json").write_text('{"date": "2026-11-22", "prices": {"xx-test-1": {"ml.madeup.xlarge": 3.0}}}')
    assert PriceTable.read(tmp_path / "d.json").dated == DAY


def test_newer_prices_take_the_place_of_older_ones():
    newer = PriceTable({"xx-test-1": {"ml.new.large": 1.0, "ml.madeup.xlarge": 2.0}}, date(2026, 12, 1), "newer")
    merged = MADE_UP.merged(newer)
    assert merged.prices == {"xx-test-1": {"ml.madeup.xlarge": 2.0, "ml.new.large": 1.0}}
    assert (merged.dated, merged.source) == (date(2026, 12, 1), "newer")
    assert MADE_UP.merged(PriceTable()) == MADE_UP


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, r"cannot be read as a table of prices \(No such file"),
        ("a: [", r"cannot be read as a table of prices"),
        ("5", r"is no table of prices: give YAML or JSON"),
        ("xx: 5", r"xx must hold instance types with prices"),
        ("xx: {ml.a.b: dear}", r"xx.ml.a.b=dear is no price: give US dollars an hour"),
        ("xx: {ml.a.b: -1}", r"xx.ml.a.b=-1 is no price"),
        ("xx: {ml.a.b: .nan}", r"xx.ml.a.b=nan is no price"),
        ("{date: soon, prices: {}}", r"date=soon is no day"),
    ],
)
def test_a_damaged_table_is_a_sentence(tmp_path, text, match):
    file = tmp_path / "p.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=match):
        PriceTable.read(file)
