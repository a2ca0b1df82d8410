"""The price list, asked of a small server that speaks its protocol (moto has none)."""

import json
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dogbreed.errors import UserError
from launch.aws.prices import products_of
from launch.aws.session import connect
from launch.pricing import HOSTING, TRANSFORM, PriceTable, parse_price_list
from launch.settings import LaunchSettings


def product(usd: str, **attributes: str) -> dict:
    attributes = {"instanceName": "ml.g5.xlarge", "regionCode": "eu-central-1", **attributes}
    price = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    terms = {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": price}}}}
    return {"product": {"productFamily": "ML Instance", "attributes": attributes}, "terms": terms}


OLD, NEW = product("1.75", component="Training"), product("1.80", platoinstancetype="Training")
OTHERS = [product("9", component="Hosting"), product("9", platoinstancetype="Studio-JupyterLab"), product("9")]
PAGES = {None: ([OTHERS[0], OLD, OTHERS[1]], "more"), "more": ([NEW, OTHERS[2]], None)}


@pytest.fixture
def price_list(aws_server, monkeypatch):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def log_message(self, *arguments):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["X-Amz-Target"], self.headers["Authorization"], body))
            products, token = PAGES[body.get("NextToken")]
            answer = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(found) for found in products]}
            if token:
                answer["NextToken"] = token
            if Handler.status != 200:
                answer = {
                    "__type": "AccessDeniedException",
                    "Message": "is not authorized to perform: pricing:GetProducts",
                }
            content = json.dumps(answer).encode()
            self.send_response(Handler.status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", f"http://127.0.0.1:{server.server_address[1]}")
    yield Handler, asked
    server.shutdown()
    server.server_close()


def test_all_pages_of_what_trains(price_list):
    _, asked = price_list
    found = products_of(connect(LaunchSettings()), "ml.g5.xlarge", "Training")

    assert [entry["terms"] for entry in found] == [OLD["terms"], NEW["terms"]]
    assert [entry["product"]["attributes"]["component"] for entry in found] == ["Training", "Training"]
    target, authorization, body = asked[0]
    assert target == "AWSPriceListService.GetProducts"
    assert "/us-east-1/pricing/" in authorization
    assert body["ServiceCode"] == "AmazonSageMaker"
    assert {(item["Field"], item["Value"]) for item in body["Filters"]} == {
        ("regionCode", "eu-central-1"),
        ("instanceName", "ml.g5.xlarge"),
    }


def test_each_use_has_a_price_of_its_own(price_list):
    found = products_of(connect(LaunchSettings()), "ml.g5.xlarge", HOSTING)
    table = parse_price_list(found, fetched=date(2026, 11, 28), use=HOSTING)
    assert table.hourly_usd("eu-central-1", "ml.g5.xlarge", HOSTING) == 9.0
    assert table.hourly_usd("eu-central-1", "ml.g5.xlarge") is None
    assert table.hourly_usd("eu-central-1", "ml.g5.xlarge", TRANSFORM) is None
    own = PriceTable({"eu-central-1": {"ml.g5.xlarge": 2.0}}, None, "prices.yaml")
    assert own.hourly_usd("eu-central-1", "ml.g5.xlarge", HOSTING) == 2.0, "a user's table may say one price for all"


def test_a_refused_price_list_is_one_sentence(price_list):
    handler, _ = price_list
    handler.status = 400
    with pytest.raises(UserError, match="Asking for AWS's prices failed: pricing:GetProducts is not permitted"):
        products_of(connect(LaunchSettings()), "ml.g5.xlarge", "Training")
