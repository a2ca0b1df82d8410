"""AWS on this machine: moto's real HTTP server, and a proxy in front of it that fails as a test wants."""

import urllib.request

import pytest
from faulty_proxy import start_proxy

REGION = "eu-central-1"
BUCKET = "ours"


@pytest.fixture(scope="session")
def moto_url():
    """Moto's server, one for all tests of a process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    """An environment without any trace of AWS: no credentials, no region, no configuration."""
    import os

    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no_config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no_credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def aws_server(moto_url, no_aws, monkeypatch):
    """An empty account at moto's server, and the environment that leads there; its address."""
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return moto_url


@pytest.fixture
def proxy(aws_server, monkeypatch):
    """A proxy between us and the server; the environment leads to it."""
    running, stop = start_proxy(aws_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    yield running
    stop()


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache folder of the test's own."""
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def aws(aws_server):
    """The account, without a proxy."""
    from launch.aws.session import connect
    from launch.settings import LaunchSettings

    return connect(LaunchSettings())


@pytest.fixture
def store(aws, own_cache):
    """A bucket of ours."""
    from launch.aws.storage import S3Store

    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Store(aws, BUCKET)


@pytest.fixture
def faulty_store(store, proxy):
    """The same bucket, seen through the proxy, whose count begins at zero."""
    from launch.aws.session import connect
    from launch.aws.storage import S3Store
    from launch.settings import LaunchSettings

    through = S3Store(connect(LaunchSettings()), BUCKET)
    proxy.requests.clear()
    return through
