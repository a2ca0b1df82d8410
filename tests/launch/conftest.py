"""AWS on this machine: moto's real HTTP server, and a proxy in front of it that fails as a test wants."""

import os
import urllib.request

import pytest
from faulty_proxy import start_proxy

REGION = "eu-central-1"
BUCKET = "ours"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


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
    _forget_aws(monkeypatch)


@pytest.fixture
def aws_server(moto_url, no_aws, monkeypatch):
    """An empty account at moto's server, and the environment that leads there; its address."""
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")).close()
    _lead_to(monkeypatch, moto_url)
    return moto_url


@pytest.fixture
def proxy(aws_server, _proxy, monkeypatch):
    """A proxy between us and the server, which lets everything through; the environment leads to it."""
    _proxy.rule = lambda request: None
    _proxy.requests.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", _proxy.url)
    yield _proxy
    _proxy.rule = lambda request: None


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache folder of the test's own."""
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def aws(aws_server, _account, monkeypatch):
    """The account, without a proxy."""
    monkeypatch.setitem(_account.__dict__, "identity", _account.identity)  # given back as it was
    return _account


@pytest.fixture
def store(aws, own_cache):
    """A bucket of ours."""
    from launch.aws.storage import S3Store

    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Store(aws, BUCKET)


@pytest.fixture
def faulty_store(store, proxy, _account_through_proxy):
    """The same bucket, seen through the proxy."""
    from launch.aws.storage import S3Store

    return S3Store(_account_through_proxy, BUCKET)


@pytest.fixture(scope="session")
def _proxy(moto_url):
    running, stop = start_proxy(moto_url)
    yield running
    stop()


@pytest.fixture(scope="session")
def _account(moto_url):
    return _connect(moto_url)


@pytest.fixture(scope="session")
def _account_through_proxy(_proxy):
    return _connect(_proxy.url)


def _connect(url):
    """Connect once for all tests: making clients takes longer than using them."""
    from launch.aws.session import connect
    from launch.settings import LaunchSettings

    with pytest.MonkeyPatch.context() as patch:
        _forget_aws(patch)
        _lead_to(patch, url)
        account = connect(LaunchSettings())
        assert account.account
        for name in ("s3", "iam"):
            account.client(name)
    return account


def _forget_aws(patch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        patch.delenv(name)
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _lead_to(patch, url):
    patch.setenv("AWS_ENDPOINT_URL", url)
    for name, value in CREDENTIALS.items():
        patch.setenv(name, value)
