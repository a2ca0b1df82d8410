"""The site as ``make docs`` builds it, and a browser without a network."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import watched_page

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the site once, with nothing but this machine at hand."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "docs", str(folder)]
    # Whoever asked another machine would be sent to a port where nobody listens.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **nowhere})
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(folder=folder, pages=sorted(folder.rglob("*.html")), out=done.stdout + done.stderr)


@pytest.fixture
def look(chromium):
    """Open a file, off the network: ``look(path, width=390, scheme="dark")``; files of the site itself may be read."""
    contexts = []

    def opened(path, width=1280, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
        contexts.append(context)
        seen = watched_page(context)
        seen.page.goto(path.as_uri())
        return seen

    yield opened
    for context in contexts:
        context.close()
