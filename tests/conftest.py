"""Real pictures, real commands, no network but this machine's own."""

import functools
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import torch
from botocore.loaders import JSONFileLoader
from browser import open_chromium
from helpers import QUICK, WEIGHTS, Answer, make_tree, once
from hydra import version
from hypothesis import settings

# Pictures take longer than Hypothesis expects of a test; the same examples every time.
settings.register_profile("pictures", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("pictures")


def pytest_sessionstart():
    gc.disable()  # what is imported stays, and need not be looked through again and again


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("photos") and not WEIGHTS.is_file():
            item.add_marker(pytest.mark.skip(reason="the photographs beside the checkout are not here"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    """Keep the user's caches out of the tests, in this process and in those it starts."""
    folder = tmp_path_factory.mktemp("caches")
    os.environ["DOGBREED_CACHE"] = str(folder / "dogbreed")
    os.environ["HF_HOME"] = str(folder / "hf")
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    os.environ.pop("HF_HUB_OFFLINE", None)
    # Nets this small compute no faster on several threads, and threads of several processes are in each other's way.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _sdk_read_once():
    """Read the AWS SDK's descriptions of its services once, not for every session: each takes a fifth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", staticmethod(functools.cache(JSONFileLoader().load_file)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _heard_signals():
    """Let Ctrl-C be heard where the tests run in a shell's background, in which it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Fail a test that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test reached for the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def _root_logger():
    """Put the root logger back as it was before Hydra came."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def _as_hydra_was(hydra_restore_singletons):
    """Hydra's own suites are written for Hydra as it was in 1.1, which other tests of this process have left behind."""
    version.setbase("1.1")


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """3 classes; 8 training, 3 validation and 4 test pictures each."""
    counts = {"train": 8, "valid": 3, "test": 4}
    return once(tmp_path_factory, "pictures", lambda folder: make_tree(folder / "colours", counts))


@pytest.fixture
def cli(capfd, monkeypatch, tmp_path):
    """Run a command as the shell would, in this process: ``cli("train", "seed=1")``, ``cli("launch.train", …)``."""

    def run(command: str, *arguments: str, cwd: Path | None = None) -> Answer:
        from importlib import import_module

        name = command if "." in command else f"dogbreed.{command}"
        module = import_module(name)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.chdir(cwd or tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            module.main()
        out, err = capfd.readouterr()
        return Answer(int(exit_info.value.code or 0), out, err)

    handlers = logging.getLogger().handlers[:]
    yield run
    # Hydra has pointed the root logger to this test's streams.
    logging.getLogger().handlers[:] = handlers


@pytest.fixture(scope="session")
def finished_run(tree, tmp_path_factory):
    """A real run on the colours, shared by tests that only read it."""
    from dogbreed import compose, fit_run

    overrides = [*QUICK, "data=folder", f"data.root='{tree}'", "trainer.max_epochs=4", "logger=tensorboard"]
    overrides += ["report=true", "pictures=true"]
    return once(tmp_path_factory, "runs", lambda folder: fit_run(compose(overrides), folder / "colours"))


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium, driven by Playwright."""
    with open_chromium() as browser:
        yield browser
