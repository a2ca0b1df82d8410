"""A packed data set, in a folder and in a bucket."""

import boto3
import pytest
from moto.server import ThreadedMotoServer
from packs import SHARD

from dogbreed.data.pack import write_pack
from dogbreed.data.scan import scan_folder
from dogbreed.data.storage import FolderStorage


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory):
    """The coloured pictures, packed into a folder."""
    folder = tmp_path_factory.mktemp("packed")
    write_pack(scan_folder(tree), FolderStorage(folder), SHARD)
    return folder


@pytest.fixture(scope="module")
def aws():
    """An S3 of our own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(aws, monkeypatch, packed):
    """The same pack in a bucket; its objects may be taken away."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="pictures")
    for file in packed.iterdir():
        client.upload_file(str(file), "pictures", f"colours/{file.name}")
    yield client
    for item in client.list_objects_v2(Bucket="pictures").get("Contents", []):
        client.delete_object(Bucket="pictures", Key=item["Key"])
    client.delete_bucket(Bucket="pictures")
