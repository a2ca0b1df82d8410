"""The words of `python -m dogbreed.serve`, and of `serve` in a container; what it does is in tests/serving."""

import pytest

from dogbreed import UserError
from dogbreed.serve import container_arguments


def test_help(cli):
    answer = cli("serve", "--help")
    assert answer.code == 0
    for word in ("--port", "--host", "--max-batch", "--max-wait-ms", "--max-queue", "--threads", "--device", "curl"):
        assert word in answer.out


def test_a_container_says_where_things_are(monkeypatch):
    for name in ("SAGEMAKER_BIND_TO_PORT", "DOGBREED_SERVE_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    assert container_arguments([]) == ["/opt/ml/model", "--host", "0.0.0.0", "--port", "8080"]
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9000")
    monkeypatch.setenv("DOGBREED_SERVE_OPTIONS", "--max-queue 8 --max-batch '4'")
    arguments = container_arguments(["/models/a", "--port", "1"])
    assert arguments == [
        "--host",
        "0.0.0.0",
        "--port",
        "9000",
        *["--max-queue", "8", "--max-batch", "4", "/models/a", "--port", "1"],
    ]
    monkeypatch.setenv("DOGBREED_SERVE_OPTIONS", "'")
    with pytest.raises(UserError, match="DOGBREED_SERVE_OPTIONS cannot be read"):
        container_arguments([])
