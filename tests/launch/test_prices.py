"""The price list, asked of a small server that speaks its protocol (moto has none)."""

import json
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dogbreed.errors import UserError
from launch.aws.prices import training_products
from launch.aws.session import connect
from launch.pricing import parse_price_list
from launch.settings import LaunchSettings


def product(instance: str, usd: str) -> dict:
    attributes = {"instanceName": instance, "regionCode": "eu-central-1", "component": "Training"}
    price = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    terms = {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": price}}}}
    return {"product": {"productFamily": "ML Instance", "attributes": attributes}, "terms": terms}


PAGES = {
    None: ([product("ml.g5.xlarge", "1.75"), product("ml.m5.large", "0.13")], "more"),
    "more": ([product("x", "1")], None),
}


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


def test_all_pages_of_the_regions_training_machines(price_list):
    _, asked = price_list
    found = training_products(connect(LaunchSettings()), "ml.g5.xlarge")

    assert found == PAGES[None][0] + PAGES["more"][0]
    target, authorization, body = asked[0]
    assert target == "AWSPriceListService.GetProducts"
    assert "/us-east-1/pricing/" in authorization
    assert body["ServiceCode"] == "AmazonSageMaker"
    assert {(item["Field"], item["Value"]) for item in body["Filters"]} == {
        ("regionCode", "eu-central-1"),
        ("instanceName", "ml.g5.xlarge"),
        ("component", "Training"),
    }
    table = parse_price_list(found, fetched=date(2026, 11, 22))
    assert table.hourly_usd("eu-central-1", "ml.g5.xlarge") == 1.75


def test_a_refused_price_list_is_one_sentence(price_list):
    handler, _ = price_list
    handler.status = 400
    with pytest.raises(UserError, match="Asking for AWS's prices failed: pricing:GetProducts is not permitted"):
        training_products(connect(LaunchSettings()), "ml.g5.xlarge")
